"""The main job with the credentials a user may have, against a gate that checks them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.servers.gate import Gate, Key

pytestmark = pytest.mark.slow
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def gate(bucket, s3_endpoint, monkeypatch):
    """A gate before the bucket, and nobody's keys in the environment."""
    with Gate(s3_endpoint) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
        for name in NAMES:
            monkeypatch.delenv(name)
        yield gate


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "-m", "mosaic", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_dotenv_may_hold_the_keys_and_the_address(gate, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    gate.keys["AKIADOTENV"] = Key("secret")
    lines = ["AWS_ACCESS_KEY_ID=AKIADOTENV", "AWS_SECRET_ACCESS_KEY=secret", f"AWS_ENDPOINT_URL_S3={gate.url}"]
    (tmp_path / ".env").write_text("\n".join(lines))
    done = run("-i", "luigi.jpg")
    assert done.returncode == 0, done.stderr
    assert gate.used() == ["AKIADOTENV"]


def test_a_run_of_two_workers_outlives_the_sessions_of_its_role(gate, bucket, monkeypatch, tmp_path):
    """Two processes, which renew for themselves; a key that has expired is refused."""
    (tmp_path / "config").write_text(
        "[profile styler]\nrole_arn = arn:aws:iam::123456789012:role/styler\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "styler")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gate.url)
    gate.keys["AKIABASE"], gate.role_s = Key("base-secret"), 2.0
    names = [f"{number}.jpg" for number in range(4)]
    for number, name in enumerate(names):
        bucket.put_image(name, seed=number)
    done = run("--workers", "2", *(option for name in names for option in ("-i", name)))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, len(names)), done.stderr
    assert gate.used("sts") == ["AKIABASE"]
    assert not [one for one in gate.passages if one.code]
    ended = [gate.keys[key_id].expires_at_s < time.time() for key_id in gate.used()]
    assert ended[0]
    assert len(ended) > len(names)


@pytest.mark.parametrize("known", ["to-us", "to-the-store-alone"])
def test_a_session_that_has_expired_and_cannot_be_renewed_is_one_line_and_status_35(gate, monkeypatch, known):
    for name in (*NAMES, "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "given")
    gate.keys["given"] = Key("given", "given", expires_at_s=0)
    if known == "to-us":
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    done = run("-i", "luigi.jpg")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (35, "", 1), done.stderr
    assert "the session has expired" in done.stderr
    assert "sign in again" in done.stderr
    assert {one.code for one in gate.passages} == ({"ExpiredToken"} if known == "to-the-store-alone" else set())
