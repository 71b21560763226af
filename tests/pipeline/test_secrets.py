"""Marked secrets, and a search for them in all that a run leaves: output, files, task ids, Luigi's page and state."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.pipeline.conftest import BUCKET, encoded_picture
from tests.servers.gate import Gate, Key
from tests.servers.stores import moto_at

pytestmark = pytest.mark.slow

KEY_ID, SECRET, TOKEN, PASSWORD = "MARKEDkeyid", "MARKEDsecret/+=", "MARKEDtoken//+==", "MARKEDpassword"
MARK = "MARKED"
LOGIN = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
PIPELINE = ["-m", "pipeline"]
STYLE = [*PIPELINE, "-i", "luigi.jpg", "-i", "sea.jpg", "-m", "mosaic", "--workers", "2", "--verbose"]
LUIGI = ["-m", "luigi", "--module", "pipeline.tasks", "Stylize"]
API = {
    "task_list": {"status": "", "upstream_status": ""},
    "worker_list": {},
    "resource_list": {},
    "dep_graph": {"task_id": "TASK"},
    "inverse_dep_graph": {"task_id": "TASK"},
    "fetch_error": {"task_id": "TASK"},
    "get_task_status_message": {"task_id": "TASK"},
    "get_task_progress_percentage": {"task_id": "TASK"},
    "task_search": {"task_str": "Stylize"},
}
PAGES = ["/", "/static/visualiser/index.html", "/history", "/metrics"]


def secrets_in(text: str | bytes) -> list[str]:
    """What of the secrets a text shows, as they are or as an address or a header would write them."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return [
        secret for secret in (MARK, LOGIN, LOGIN.rstrip("=")) if secret in text or secret in urllib.parse.unquote(text)
    ]


def test_the_search_finds_a_secret_in_each_of_its_forms():
    for secret in (KEY_ID, SECRET, TOKEN, PASSWORD):
        assert secrets_in(f"x{secret}y") == secrets_in(urllib.parse.quote(f"x{secret}y", safe="").encode()) == [MARK]
    assert secrets_in(f"Authorization: Basic {LOGIN}")


@pytest.fixture
def gate(converted, s3_endpoint, monkeypatch, tmp_path):
    """A gate that lets the marked keys pass, named with a login in its address; two pictures and a net behind it."""
    converted.put_image("sea.jpg", seed=2)
    with Gate(s3_endpoint, keys={KEY_ID: Key(SECRET, TOKEN)}) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://user:{PASSWORD}@127.0.0.1:{gate.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        monkeypatch.setenv("PIPELINE_S3_CONNECT_ATTEMPTS", "1")
        monkeypatch.setenv("LUIGI_CONFIG_PATH", str(REPO / "luigi.cfg"))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        yield gate


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, timeout=120)


def leaks(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, list[str]]:
    """Where a secret is shown: in what was said, and in every name and every file of the folder."""
    texts: dict[str, str | bytes] = {"stdout": done.stdout, "stderr": done.stderr}
    texts |= {f"name of {path}": str(path) for path in folder.rglob("*")}
    texts |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: found for name, text in texts.items() if (found := secrets_in(text))}


def published(gate: Gate) -> dict[str, str]:
    """Every object that is there, with its metadata: by a client straight to the store."""
    with moto_at(gate.backend) as store:
        shown = {}
        for key in store.keys(BUCKET):
            found = store.plain.get_object(Bucket=BUCKET, Key=key)
            shown[key] = f"{key} {found['Metadata']} {found['Body'].read().decode(errors='replace')}"
        return shown


@pytest.mark.parametrize("mode", ["in-process", "program"])
def test_a_run_that_works_shows_no_secret(gate, bucket, tmp_path, mode):
    done = run(*STYLE, "--mode", mode, "--publish")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr
    assert gate.used() == [KEY_ID]
    assert len([name for name in bucket.files() if name.endswith(".json")]) >= 5  # records were there to be searched
    assert leaks(done, tmp_path) == {}
    objects = published(gate)
    assert [key for key in objects if "stylized/" in key and key.endswith(".json")]
    assert {key: found for key, text in objects.items() if (found := secrets_in(text))} == {}


def test_the_other_commands_show_no_secret(gate, bucket, tmp_path):
    assert run(*STYLE).returncode == 0
    (tmp_path / "new.jpg").write_bytes(encoded_picture("new.jpg"))
    result = str(bucket.local / "stylized" / "mosaic" / "luigi.jpg")
    for command in (["put", str(tmp_path / "new.jpg")], ["status"], ["reproduce", result], ["remove", result]):
        done = run(*PIPELINE, *command)
        assert done.returncode == 0, done.stderr
        assert leaks(done, tmp_path) == {}
    gate.keys[KEY_ID] = Key("another", TOKEN)
    for command in (["put", str(tmp_path / "new.jpg")], ["status"]):
        done = run(*PIPELINE, *command)
        assert (done.returncode, "the secret key does not belong" in done.stderr) == (35, True), done.stderr
        assert leaks(done, tmp_path) == {}


FAILURES = {
    "wrong-secret": ({"AWS_SECRET_ACCESS_KEY": f"{MARK}another"}, 35, "the secret key does not belong"),
    "wrong-token": ({"AWS_SESSION_TOKEN": f"{MARK}another"}, 35, "the session token is not valid"),
    "token-with-a-line-break": ({"AWS_SESSION_TOKEN": f"a\n{MARK}"}, 35, "the session token holds a line break"),
    "unknown-key": ({"AWS_ACCESS_KEY_ID": f"{MARK}another"}, 35, "it does not know the access key"),
    "nobody-there": (
        {"AWS_ENDPOINT_URL_S3": f"http://user:{PASSWORD}@127.0.0.1:9"},
        35,
        "cannot connect to http://127",
    ),
    "no-address": ({"AWS_ENDPOINT_URL_S3": f"http://user:{MARK}/x@127.0.0.1:9"}, 35, "was not a valid URI"),
    "no-port": ({"AWS_ENDPOINT_URL_S3": f"http://user:{MARK}@127.0.0.1:x"}, 35, "was not a valid URI"),
    "proxy": ({"HTTP_PROXY": f"http://user:{PASSWORD}@127.0.0.1:9"}, 35, "ProxyConnectionError"),
    "root-with-a-login": ({"PIPELINE_S3_ROOT": f"s3://user:{PASSWORD}@pictures/styled"}, 2, "found credentials in it"),
}


@pytest.mark.parametrize(("environment", "status", "said"), FAILURES.values(), ids=FAILURES)
def test_a_run_that_fails_shows_no_secret(gate, monkeypatch, tmp_path, environment, status, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run(*STYLE)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert leaks(done, tmp_path) == {}


@pytest.mark.parametrize("code", ["ExpiredToken", "SignatureDoesNotMatch", "AccessDenied", "Strange"])
def test_a_run_that_is_refused_in_its_middle_shows_no_secret(gate, tmp_path, code):
    gate.refused = {"GET": code}
    done = run(*STYLE)
    assert (done.returncode, code in done.stderr) == (35, True), done.stderr
    assert "Traceback" not in done.stderr
    assert leaks(done, tmp_path) == {}


def test_a_program_that_fails_with_a_secret_in_its_words_shows_none(gate, monkeypatch, tmp_path):
    """From the start, and in the middle of a run: once it gave keys that are about to end."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    program, config = tmp_path / "give-keys", tmp_path / "config"
    config.write_text(f"[profile styler]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "styler")
    fields = {"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": TOKEN}
    for minutes, status in (None, 35), (5, 35), (12, 0):
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * (minutes or 0)))
        answer = json.dumps({"Version": 1, **fields, "Expiration": soon})
        once = f"mkdir {tmp_path}/{minutes} 2>/dev/null && echo '{answer}' && exit" if minutes else ""
        program.write_text(f"#!/bin/sh\n{once}\necho '{SECRET} {TOKEN}' >&2; exit 1\n")
        program.chmod(0o755)
        done = run("-m", "pipeline", "-i", "luigi.jpg", "-m", "mosaic", "--verbose")
        program.unlink()
        assert done.returncode == status, done.stderr
        assert ("credential_process failed" in done.stderr) == bool(status), done.stderr
        assert ("could not be renewed" in done.stderr) == (not status), done.stderr
        assert "Traceback" not in done.stderr
        assert leaks(done, tmp_path) == {}


class Luigid:
    """Luigi's own server, with what it says and its state in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Luigid:
        program = "from luigi.cmdline import luigid; luigid()"
        options = ["--address", "127.0.0.1", "--port", str(self.port), "--state-path", str(self.folder / "state")]
        with (self.folder / "said").open("wb") as said:
            self.process = subprocess.Popen([sys.executable, "-c", program, *options], stdout=said, stderr=said)
        end = time.monotonic() + 30
        while True:
            try:
                self.get("/api/task_list", API["task_list"])
                return self
            except urllib.error.URLError:
                assert time.monotonic() < end, (self.folder / "said").read_text()
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def get(self, path: str, data: dict[str, str] | None = None) -> str:
        query = f"?{urllib.parse.urlencode({'data': json.dumps(data)})}" if data is not None else ""
        try:
            with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as err:
            return str(err.read().decode())

    def everything(self) -> dict[str, str]:
        """Every page, and every answer of the API about every task."""
        listed = json.loads(self.get("/api/task_list", API["task_list"]))["response"]
        shown = {path: self.get(path) for path in PAGES}
        for call, data in API.items():
            for task_id in listed if "task_id" in data else [""]:
                asked = {name: value.replace("TASK", task_id) for name, value in data.items()}
                shown[f"{call} {task_id}"] = self.get(f"/api/{call}", asked)
        return shown


@pytest.fixture
def luigid(tmp_path):
    with Luigid(tmp_path / "luigid") as luigid:
        yield luigid


def test_luigis_own_pages_and_state_show_no_secret(gate, luigid, tmp_path):
    """After a run that works, one that is refused in its middle, and one that is refused at once."""
    options = ["--scheduler-url", luigid.url, "--workers", "2", "--log-level", "DEBUG"]
    statuses = []
    for image, refused in (("luigi.jpg", {}), ("sea.jpg", {"GET": "ExpiredToken"}), ("no.jpg", {"HEAD": "Strange"})):
        gate.refused = refused
        done = run(*LUIGI, *options, "--image", image)
        statuses.append(done.returncode)
        assert leaks(done, tmp_path) == {}
    assert statuses == [0, 30, 35]
    shown = luigid.everything()
    assert "the session has expired" in " ".join(shown.values())  # the failure was there to be searched
    assert any("dep_graph Stylize" in name for name in shown)
    assert {name: found for name, text in shown.items() if (found := secrets_in(text))} == {}
    luigid.process.terminate()
    luigid.process.wait(timeout=30)
    state = (tmp_path / "luigid" / "state").read_bytes()
    assert b"Stylize" in state
    assert secrets_in(state) == secrets_in((tmp_path / "luigid" / "said").read_bytes()) == []


def test_a_task_id_holds_nothing_of_the_environment(gate):
    from pipeline.tasks import Stylize

    task = Stylize(image="luigi.jpg", model="mosaic")
    assert secrets_in(f"{task.task_id} {task!r} {task.to_str_params()}") == []
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
