from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from csci_utils import s3
from csci_utils.s3 import CredentialsMissingError, S3Error, S3Limits, S3Uri, StoreTimeoutError, StoreUnreachableError
from tests.csci_utils.fake_store import refuse, stay_silent

URI = S3Uri("bucket", "images/cat.jpg")
REPO = Path(__file__).parents[3]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    return f"http://127.0.0.1:{port}"


def test_a_process_has_one_client():
    assert s3.client() is s3.client()


def test_threads_that_start_together_share_one_client():
    barrier, made = threading.Barrier(4), set()

    def make() -> None:
        barrier.wait()
        made.add(id(s3.client()))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_forgotten_client_is_made_again_from_the_new_environment(monkeypatch):
    first = s3.client()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert s3.client() is first
    s3.forget_client()
    assert s3.client().meta.endpoint_url == "http://127.0.0.1:1"


FORK = """
import os
from csci_utils import s3
from csci_utils.s3.client import _process
parent = s3.client()
_process.lock.acquire()  # as another thread might hold it
child = os.fork()
if child == 0:
    os._exit(0 if s3.client() is not parent else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_forked_process_makes_its_own_client():
    done = subprocess.run([sys.executable, "-c", FORK], cwd=REPO, capture_output=True, text=True, timeout=30)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.slow
def test_importing_the_border_imports_no_boto3():
    code = "import sys, csci_utils.s3; print(sorted({'boto3', 'botocore', 'luigi', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "wrong",
    [{"connect_timeout_s": 0}, {"read_timeout_s": -1}, {"max_attempts": 0}, {"chunk_bytes": 1.5}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_limits_that_make_no_sense_are_named(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"S3Limits\.{name}: wanted a .* number, found {value}"):
        S3Limits(**wrong)


def test_limits_reach_the_client():
    s3.use_limits(S3Limits(connect_timeout_s=1.5, read_timeout_s=2.5, max_attempts=3))
    config = s3.client().meta.config
    assert (config.connect_timeout, config.read_timeout) == (1.5, 2.5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def test_the_users_own_number_of_tries_wins(store, pauses, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    s3.forget_client()
    store.faults.extend([refuse(503, "SlowDown")] * 9)
    with pytest.raises(S3Error, match="slow down|the store failed"):
        s3.head(URI)
    assert len(store.requests) == 2


@pytest.mark.slow
def test_where_nothing_listens_is_given_up_early_and_named(nobody, pauses, caplog):
    with pytest.raises(StoreUnreachableError, match=rf"cannot connect to {nobody} \(EndpointConnectionError\)"):
        s3.head(URI)
    tries = S3Limits().connect_attempts
    assert len(pauses) == tries - 1
    assert sum(pauses) < 20
    assert [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"] == [
        f"{URI}: try {n} of {tries}, because there was no connection" for n in range(2, tries + 1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (refuse(503, "SlowDown"), "the store answered 503 SlowDown"),
        (refuse(503, ""), "the store answered 503"),
        (stay_silent, "there was no answer in time"),
    ],
    ids=["slow-down", "no-code", "silent"],
)
def test_a_new_try_names_the_object_and_the_reason(store, pauses, caplog, tmp_path, fault, why):
    if fault is stay_silent:
        s3.use_limits(S3Limits(read_timeout_s=0.6))
    store.hold(b"body")
    store.faults.append(fault)
    s3.get(URI, tmp_path / "got")
    tries = 3 if fault is stay_silent else 8
    assert [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"] == [
        f"{URI}: try 2 of {tries}, because {why}"
    ]


@pytest.mark.parametrize(
    ("operation", "arguments", "what"),
    [("head_bucket", {"Bucket": "bucket"}, "s3://bucket (head bucket)"), ("list_buckets", {}, "S3 (list buckets)")],
)
def test_a_new_try_without_a_key_says_the_operation(nobody, pauses, caplog, operation, arguments, what):
    with pytest.raises(EndpointConnectionError):
        getattr(s3.client(), operation)(**arguments)
    messages = [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]
    assert messages[0] == f"{what}: try 2 of {S3Limits().connect_attempts}, because there was no connection"


def test_a_key_cannot_break_the_log(nobody, pauses, caplog):
    with pytest.raises(StoreUnreachableError):
        s3.head(S3Uri("bucket", "a\nb@2"))
    messages = [record.getMessage() for record in caplog.records if record.name == "csci_utils.s3"]
    assert messages[0].startswith(r"s3://bucket/a\nb@2: try 2 of")


@pytest.mark.slow
def test_a_store_that_was_given_up_gets_one_try_until_it_answers(store, pauses):
    s3.use_limits(S3Limits(read_timeout_s=0.6))
    store.faults.extend([stay_silent] * 4)
    for tries in (3, 4):
        with pytest.raises(StoreTimeoutError, match="did not answer in time"):
            s3.head(URI)
        assert len(store.requests) == tries
    s3.head(URI)
    store.faults.extend([stay_silent] * 2)
    s3.head(URI)
    assert len(store.requests) == 8


@pytest.mark.slow
def test_an_address_that_swallows_everything_is_given_up(monkeypatch, pauses):
    s3.use_limits(S3Limits(connect_timeout_s=0.1, silent_attempts=2))
    with socket.socket() as full:  # a queue of connections that nobody takes: the next ones are not answered
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        with pytest.raises(StoreTimeoutError, match=rf"http://127.0.0.1:{port} did not answer in time"):
            s3.head(URI)
        for each in waiting:
            each.close()
    assert len(pauses) == 1


def test_no_credentials_are_said_in_a_sentence(monkeypatch, store):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    s3.forget_client()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3.forget_client()
    with pytest.raises(CredentialsMissingError, match=r"cat\.jpg: wanted to look it up: no credentials were found"):
        s3.head(URI)
    assert store.requests == []


def test_half_the_credentials_are_said_in_a_sentence(monkeypatch, store):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3.forget_client()
    with pytest.raises(CredentialsMissingError, match="configured here cannot be used"):
        s3.head(URI)


def test_a_profile_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsMissingError, match=r"profile \(nobody\) could not be found; check AWS_PROFILE"):
        s3.head(URI)


def test_an_address_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not an address")
    with pytest.raises(S3Error, match="Invalid endpoint: not an address; check AWS_ENDPOINT_URL_S3"):
        s3.head(URI)


@pytest.mark.parametrize("bucket", ["", "no such/bucket"])
def test_a_name_no_bucket_can_have_is_said_in_a_sentence(store, bucket):
    with pytest.raises((S3Error, FileNotFoundError), match="takes no such bucket name or key"):
        s3.get(S3Uri(bucket, "key"), os.devnull)


def test_an_empty_key_is_said_in_a_sentence(store):
    with pytest.raises(S3Error, match="takes no such bucket name or key"):
        s3.head(S3Uri("bucket", ""))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_MAX_ATTEMPTS", "abc"),
        ("AWS_MAX_ATTEMPTS", ""),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_MAX_ATTEMPTS", "-1"),
        ("AWS_RETRY_MODE", "x"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "x"),
        ("AWS_CSM_PORT", "x"),
        ("AWS_CONFIG_FILE", "broken"),
        ("AWS_SHARED_CREDENTIALS_FILE", "broken"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, tmp_path, variable, value):
    if value == "broken":
        value = str(tmp_path / "config")
        Path(value).write_text("[default\nx")
    monkeypatch.setenv(variable, value)
    with pytest.raises(S3Error, match=rf"^S3: .*{variable}"):
        s3.client()
