"""Who one is to the store, from where, and for how long: against a gate that checks signatures, tokens and expiries."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import luigi
import pytest
from botocore.credentials import RefreshableCredentials

from csci_utils import s3
from csci_utils.luigi.run import build
from csci_utils.s3 import (
    AccessRefusedError,
    CredentialsMissingError,
    KeysRefusedError,
    S3Error,
    S3Limits,
    S3Uri,
    StoreTimeoutError,
)
from tests.csci_utils.fake_store import refuse
from tests.servers.gate import Gate, Key

pytestmark = pytest.mark.slow

URI = S3Uri("bucket", "images/grün & blau.jpg")
BODY = bytes(range(256)) * 5
ROLE = "arn:aws:iam::123456789012:role/styler"
HOUR_S = 3600


@pytest.fixture
def gate(s3_endpoint, monkeypatch):
    """A gate before an empty bucket, with nobody's keys in the environment."""
    s3.client().create_bucket(Bucket="bucket")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with Gate(s3_endpoint) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
        s3.forget_client()
        yield gate


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Write the AWS profile "styler", and name it."""

    def write(text: str, *, credentials: str = "") -> None:
        (tmp_path / "config").write_text(f"[profile styler]\n{text}\n")
        (tmp_path / "credentials").write_text(credentials)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_PROFILE", "styler")
        s3.forget_client()

    return write


@pytest.fixture
def program(tmp_path, profile):
    """Make the profile's credential_process a shell script."""

    def write(script: str) -> None:
        path = tmp_path / "give-keys"
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)
        profile(f"credential_process = {path}")

    return write


@pytest.fixture
def sessions(gate, program, tmp_path):
    """Make the profile give keys that live so long, number after number; a number without keys fails."""

    def prepare(*lives_s: float) -> list[str]:
        for number, life_s in enumerate(lives_s, start=1):
            key = Key(f"secret-{number}", f"token-{number}", time.time() + life_s)
            gate.keys[f"ASIA{number}"] = key
            (tmp_path / f"{number}.json").write_text(answer(f"ASIA{number}", key))
        (tmp_path / "number").write_text("0")
        program("number=$(($(cat number) + 1)); echo $number > number; cat $number.json")
        return [f"ASIA{number}" for number in range(1, len(lives_s) + 1)]

    return prepare


def answer(key_id: str, key: Key) -> str:
    expiration = datetime.fromtimestamp(key.expires_at_s, UTC).isoformat()
    fields = {"AccessKeyId": key_id, "SecretAccessKey": key.secret, "SessionToken": key.token, "Expiration": expiration}
    return json.dumps({"Version": 1, **fields})


@pytest.fixture
def later(monkeypatch):
    """Set the clock by which botocore judges its credentials, and no other, ahead."""
    remaining_s = RefreshableCredentials._seconds_remaining

    def advance(seconds: float) -> None:
        monkeypatch.setattr(RefreshableCredentials, "_seconds_remaining", lambda self: remaining_s(self) - seconds)
        now = datetime.now(UTC) + timedelta(seconds=seconds)
        monkeypatch.setattr("botocore.credentials._local_now", lambda: now)  # of those that it keeps for a role

    return advance


def round_trip(tmp_path: Path) -> None:
    """Write, look up and read back; the digest is of another route."""
    (tmp_path / "here").write_bytes(BODY)
    s3.put(tmp_path / "here", URI)
    assert s3.get(URI, tmp_path / "back").sha256 == hashlib.sha256(BODY).hexdigest()
    found = s3.head(URI)
    assert found is not None
    assert found.size_bytes == len(BODY)


def test_keys_come_from_the_environment(gate, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its/secret+")
    gate.keys["AKIAENV"] = Key("its/secret+")
    round_trip(tmp_path)
    assert gate.used() == ["AKIAENV"]


def test_a_session_token_comes_from_the_environment(gate, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "to//ken==")
    gate.keys["ASIAENV"] = Key("secret", "to//ken==")
    round_trip(tmp_path)


def test_keys_come_from_the_profile_that_is_named(gate, profile, tmp_path):
    profile(
        "region = us-east-1", credentials="[styler]\naws_access_key_id = AKIAFILE\naws_secret_access_key = secret\n"
    )
    gate.keys["AKIAFILE"] = Key("secret")
    round_trip(tmp_path)
    assert gate.used() == ["AKIAFILE"]


ASSUMED = f"""role_arn = {ROLE}
source_profile = base
region = us-east-1

[profile base]
aws_access_key_id = AKIABASE
aws_secret_access_key = base-secret
"""


def test_a_role_is_assumed_with_the_keys_of_its_source_profile(gate, profile, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gate.url)
    gate.keys["AKIABASE"] = Key("base-secret")
    profile(ASSUMED)
    round_trip(tmp_path)
    assert (gate.used("sts"), gate.used("s3")) == (["AKIABASE"], ["ASIAROLE00000001"])


@pytest.fixture
def strict_moto(s3_endpoint):
    """Moto with a role and a user who may assume it, which from now on checks every signature and policy."""
    import urllib.request

    iam, region = boto3.client("iam", endpoint_url=s3_endpoint), {"Version": "2012-10-17"}
    may = {"Effect": "Allow", "Resource": "*"}
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    s3.client().create_bucket(Bucket="bucket")
    iam.create_role(RoleName="styler", AssumeRolePolicyDocument=json.dumps({**region, "Statement": [trust]}))
    policy = json.dumps({**region, "Statement": [{**may, "Action": "s3:*"}]})
    iam.put_role_policy(RoleName="styler", PolicyName="p", PolicyDocument=policy)
    iam.create_user(UserName="u")
    policy = json.dumps({**region, "Statement": [{**may, "Action": "sts:AssumeRole"}]})
    iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=policy)
    keys = iam.create_access_key(UserName="u")["AccessKey"]

    def check_after(num_actions: bytes) -> None:
        headers = {"Content-Type": "text/plain"}  # of a form it would not be read
        request = urllib.request.Request(f"{s3_endpoint}/moto-api/reset-auth", data=num_actions, headers=headers)
        urllib.request.urlopen(request).close()

    check_after(b"0")
    yield keys
    check_after(b"inf")


def test_a_role_is_assumed_at_a_service_that_checks_policies(strict_moto, s3_endpoint, profile, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    keys = strict_moto["AccessKeyId"], strict_moto["SecretAccessKey"]
    profile(ASSUMED.replace("AKIABASE", keys[0]).replace("base-secret", keys[1]))
    round_trip(tmp_path)
    profile(ASSUMED.replace("AKIABASE", keys[0]).replace("base-secret", "another"))
    with pytest.raises(CredentialsMissingError, match=r"no session could be had for the AWS profile \(403 Signature"):
        s3.head(URI)


def test_the_endpoint_of_s3_comes_before_that_of_all_services(gate, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    gate.keys["AKIAENV"] = Key("secret")
    round_trip(tmp_path)


def test_the_endpoint_of_all_services_serves_s3_too(gate, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.url)
    gate.keys["AKIAENV"] = Key("secret")
    round_trip(tmp_path)


@pytest.mark.parametrize("where", ["endpoint_url = {}", "services = here\n[services here]\ns3 =\n  endpoint_url = {}"])
def test_the_endpoint_comes_from_the_profile(gate, profile, monkeypatch, tmp_path, where):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    gate.keys["AKIAFILE"] = Key("secret")
    keys = "[styler]\naws_access_key_id = AKIAFILE\naws_secret_access_key = secret\n"
    profile(where.format(gate.url), credentials=keys)
    round_trip(tmp_path)
    assert gate.used() == ["AKIAFILE"]


def test_a_session_is_renewed_by_the_client_that_is_there(gate, sessions, later, tmp_path):
    first, second = sessions(HOUR_S, 3 * HOUR_S)
    client = s3.client()
    round_trip(tmp_path)
    assert gate.used() == [first]
    gate.keys[first].expires_at_s = time.time()
    later(HOUR_S)
    round_trip(tmp_path)
    assert gate.used() == [first, second]
    assert s3.client() is client
    assert (tmp_path / "number").read_text() == "2\n"


def test_the_session_of_a_role_is_renewed_by_the_client_that_is_there(gate, profile, later, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gate.url)
    gate.keys["AKIABASE"] = Key("base-secret")
    profile(ASSUMED)
    client = s3.client()
    round_trip(tmp_path)
    gate.keys["ASIAROLE00000001"].expires_at_s = time.time()
    gate.role_s = 3 * HOUR_S
    later(HOUR_S)
    round_trip(tmp_path)
    assert gate.used() == ["ASIAROLE00000001", "ASIAROLE00000002"]
    assert s3.client() is client


def test_threads_renew_a_session_once(gate, sessions, later, tmp_path):
    first, second = sessions(HOUR_S, 3 * HOUR_S)
    round_trip(tmp_path)
    gate.keys[first].expires_at_s = time.time()
    later(HOUR_S)
    threads = [threading.Thread(target=s3.head, args=(URI,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.key_id for one in gate.passages[-8:]] == [second] * 8
    assert (tmp_path / "number").read_text() == "2\n"


class LooksTwice(luigi.Task):
    """Looks an object up, waits until the session has expired, and looks again."""

    path = luigi.PathParameter(absolute=True)
    wait_s = luigi.FloatParameter()

    def output(self):
        return luigi.LocalTarget(str(self.path))

    def run(self):
        found = [s3.head(URI) is not None]
        time.sleep(self.wait_s)
        found.append(s3.head(URI) is not None)
        Path(self.path).write_text(json.dumps([os.getpid(), found]))


@pytest.mark.slow
def test_a_forked_task_renews_its_session(gate, profile, monkeypatch, tmp_path):
    """With real seconds: botocore renews so short a session before each request."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gate.url)
    gate.keys["AKIABASE"], gate.role_s = Key("base-secret"), 2.0
    profile(ASSUMED)
    (tmp_path / "here").write_bytes(BODY)
    s3.put(tmp_path / "here", URI)
    first = gate.used()
    result = build([LooksTwice(path=tmp_path / name, wait_s=2.1) for name in "ab"], workers=2)
    assert result.exit_status == 0, result.failures
    (pid, found), (other_pid, other_found) = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert len({pid, other_pid, os.getpid()}) == 3
    assert found == other_found == [True, True]
    assert len(set(gate.used()) - set(first)) == 4  # two looks of two processes
    assert not any(one.code for one in gate.passages)


def test_a_session_that_cannot_be_renewed_is_used_to_its_end(gate, sessions, later, caplog, tmp_path):
    (first,) = sessions(HOUR_S)
    round_trip(tmp_path)
    later(HOUR_S - 12 * 60)  # botocore tries from 15 minutes before the end on, and must from 10 on
    round_trip(tmp_path)
    assert gate.used() == [first]
    lines = {record.getMessage() for record in caplog.records if record.name == "botocore.credentials"}
    assert lines == {
        "S3: the credentials end soon and could not be renewed (CredentialRetrievalError); going on with those at hand"
    }
    assert "Traceback" not in caplog.text
    later(HOUR_S)
    caplog.clear()
    with pytest.raises(CredentialsMissingError, match="the AWS profile's credential_process failed"):
        s3.head(URI)
    assert caplog.records == []  # the error says it


NEVER = "2020-01-01T00:00:00Z"


def giving(**fields: str) -> str:
    return (
        "echo '" + json.dumps({"Version": 1, "AccessKeyId": "marked-id", "SecretAccessKey": "marked", **fields}) + "'"
    )


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo marked >&2; exit 3", "credential_process failed, or left something out; run it by hand"),
        (
            giving(SecretAccessKey="").replace('"SecretAccessKey"', '"marked"'),
            "credential_process failed, or left some",
        ),
        ("echo marked", "gives none that can be read; run it by hand"),
        ("echo '[\"marked\"]'", "gives none that can be read"),
        ("printf '\\377'", "gives none that can be read"),
        (giving(Expiration="marked"), "gives none that can be read"),
        (giving(Expiration=NEVER, SessionToken="marked"), "the session has expired, and what renews it gave none"),
    ],
    ids=["fails", "left-out", "no-json", "a-list", "no-text", "no-date", "expired"],
)
def test_a_program_that_gives_no_keys_is_one_sentence(gate, program, caplog, script, sentence):
    program(script)
    with pytest.raises(CredentialsMissingError, match=sentence) as caught:
        s3.head(URI)
    assert "marked" not in "".join(traceback.format_exception(caught.value))
    assert caplog.records == []
    assert gate.passages == []


@pytest.mark.parametrize("name", ["no-such-program", "no{such}program"])
def test_a_program_that_is_not_there_is_no_missing_object(gate, profile, name):
    profile(f"credential_process = /nonexistent/{name}")
    with pytest.raises(CredentialsMissingError, match=f"/nonexistent/{name}, .*: No such file or directory; check"):
        s3.head(URI)


def test_a_token_file_that_is_not_there_is_no_missing_object(gate, profile):
    profile(f"role_arn = {ROLE}\nweb_identity_token_file = /nonexistent/token\nregion = us-east-1")
    with pytest.raises(CredentialsMissingError, match="/nonexistent/token, .*: No such file or directory; check"):
        s3.head(URI)


def test_a_role_that_is_refused_is_told_from_an_object_that_is(gate, profile, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gate.url)
    gate.keys["AKIABASE"], gate.role_s = Key("base-secret"), None
    profile(ASSUMED)
    with pytest.raises(
        CredentialsMissingError, match=r"no session could be had for the AWS profile \(403 AccessDenied"
    ):
        s3.head(URI)


def test_a_role_that_wants_a_code_nobody_can_type_is_a_sentence(gate, profile, monkeypatch):
    def ask(*_: object) -> None:
        raise EOFError

    monkeypatch.setattr("botocore.credentials.AssumeRoleProvider.load", ask)  # a prompt would find the terminal
    profile(ASSUMED)
    with pytest.raises(CredentialsMissingError, match="wants an MFA code, and nobody is there to type it"):
        s3.head(URI)


def test_a_service_of_roles_that_stays_silent_is_given_up(gate, profile, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        s3.use_limits(S3Limits(read_timeout_s=0.6))
        profile(ASSUMED)
        start_s = time.monotonic()
        with pytest.raises(StoreTimeoutError, match=f"{url} did not answer in time"):
            s3.head(URI)
        assert time.monotonic() - start_s < 40


REFUSALS = {
    "wrong-secret": (Key("another"), "403 SignatureDoesNotMatch: the secret key does not belong to the access key"),
    "wrong-token": (Key("marked-secret", "another"), "400 InvalidToken: the session token is not valid"),
    "expired": (Key("marked-secret", "marked-token", 0), "400 ExpiredToken: the session has expired, sign in again"),
    "unknown-key": (None, "403 InvalidAccessKeyId: it does not know the access key"),
}


@pytest.mark.parametrize("call", ["head", "get", "put"])
@pytest.mark.parametrize(("key", "why"), REFUSALS.values(), ids=REFUSALS)
def test_refused_keys_are_said_with_their_reason_and_not_shown(gate, monkeypatch, tmp_path, key, why, call):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "marked-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "marked-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "marked-token")
    if key is not None:
        gate.keys["marked-id"] = Key(key.secret, key.token or "marked-token", key.expires_at_s)
    (tmp_path / "here").write_bytes(BODY)
    calls = {
        "head": lambda: s3.head(URI),
        "get": lambda: s3.get(URI, tmp_path / "back"),
        "put": lambda: s3.put(tmp_path / "here", URI),
    }
    with pytest.raises(KeysRefusedError) as caught:
        calls[call]()
    assert f"the store refused the credentials ({why})" in str(caught.value)
    assert "marked" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_a_real_store_refuses_wrong_keys_and_takes_the_right_ones(swift_store, monkeypatch, tmp_path, name):
    for each, value in swift_store.environment().items():
        monkeypatch.setenv(each, value)
    uri = S3Uri(swift_store.new_bucket(), "cat.jpg")
    (tmp_path / "here").write_bytes(BODY)
    s3.put(tmp_path / "here", uri)
    monkeypatch.setenv(name, "another")
    s3.forget_client()
    with pytest.raises(KeysRefusedError, match=r"\(403 SignatureDoesNotMatch: the secret key does not bel"):
        s3.head(uri)


@pytest.mark.parametrize("faults", [[], [refuse(404, "NoSuchKey")]], ids=["read", "missing"])
def test_a_look_that_is_refused_where_reading_is_not_stays_refused(store, faults):
    """A HEAD that is forbidden, and a GET that is not: there is no other reason to be had."""
    store.hold(b"body")
    store.faults.extend([refuse(403, "AccessDenied"), *faults])
    with pytest.raises(AccessRefusedError, match=r"wanted to look it up: the store refused \(403\)"):
        s3.head(URI)
    assert [request.partition(" ")[0] for request in store.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [404, 500])
def test_a_look_that_fails_otherwise_is_not_asked_again(store, status):
    s3.use_limits(S3Limits(max_attempts=1))
    store.faults.append(refuse(status, "Any"))
    if status == 404:
        assert s3.head(URI) is None
    else:
        with pytest.raises(S3Error, match="the store failed"):
            s3.head(URI)
    assert len(store.requests) == 1
