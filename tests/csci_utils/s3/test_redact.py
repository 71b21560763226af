from __future__ import annotations

import logging
import string
import traceback

import botocore.exceptions as foreign
import pytest

from csci_utils import s3
from csci_utils.s3 import CredentialsMissingError, S3Error, S3Uri, errors, translated
from csci_utils.s3.client import _why
from csci_utils.s3.redact import reason_of, strip_secrets, without_secrets

URI = S3Uri("bucket", "images/cat.jpg")
LEAKS = [
    "https://u:hunter2@host/key?X-Amz-Signature=hunter2",
    "Failed to parse: http://u:hunter2@h:99999",
    "Failed to parse: http://u:hun@ter2/hunter2@h",
    "Invalid endpoint: u:hunter2@h",
    "Invalid endpoint: u: hunter2@h",
    "Invalid endpoint: hunter2@h",
    "Invalid header value b'hunter2\\nmore'",
    "Invalid header value b'AWS4-HMAC-SHA256 Credential=hunter2\nhunter2'",
    "https://h/key?X-Amz-Security-Token=hunter2&x=1",
]


def every_class() -> list[type[foreign.BotoCoreError]]:
    return [
        kind for kind in vars(foreign).values() if isinstance(kind, type) and issubclass(kind, foreign.BotoCoreError)
    ]


def made(kind: type[foreign.BotoCoreError], leak: str) -> Exception:
    """The error as botocore words it, with a secret in each of its words, and in what led to it."""
    fields = {name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}
    err = kind.__new__(kind)
    Exception.__init__(err, kind.fmt.format(**dict.fromkeys(fields, leak)))
    err.kwargs = {"endpoint_url": leak, "error": ValueError(leak)}
    err.__context__ = ValueError(leak)
    return err


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_no_error_of_botocores_tells_a_secret_itself_or_in_its_traceback(kind):
    for leak in LEAKS:
        with pytest.raises(S3Error, match="wanted to read it") as caught, translated(URI, "read it"):
            raise made(kind, leak)
        assert "ter2" not in "".join(traceback.format_exception(caught.value)), leak
        assert "ter2" not in _why(None, made(kind, leak))


def test_a_code_of_the_stores_cannot_break_the_log():
    class Http:
        status_code = 503

    assert _why((Http, {"Error": {"Code": "a\nb http://u:hunter2@h"}}), None) == "the store answered 503 a\\nb http://h"


@pytest.mark.parametrize("leak", LEAKS)
def test_secrets_are_cut(leak):
    assert "ter2" not in without_secrets(leak)


def test_a_text_without_secrets_stays():
    text = "Could not parse /home/me/.aws/config: line 3, https://store:9000/a"
    assert without_secrets(text) == text


def test_an_exception_that_words_itself_is_left_out_of_the_chain():
    class Stubborn(foreign.BotoCoreError):
        def __str__(self) -> str:
            return "http://u:hunter2@h"

    Stubborn.__module__ = "botocore.exceptions"
    assert not strip_secrets(Stubborn())
    with pytest.raises(S3Error, match="wanted to read it") as caught, translated(URI, "read it"):
        raise Stubborn()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_what_the_tls_library_says_is_kept():
    inner = ValueError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1)")
    err = foreign.SSLError(endpoint_url="https://u:hunter2@h", error=inner)
    wanted = "SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
    assert reason_of(err) == wanted.replace("SSLError", "SSLError: ValueError", 1)


@pytest.mark.parametrize(
    ("variable", "kind"),
    [("AWS_SESSION_TOKEN", "the session token"), ("AWS_ACCESS_KEY_ID", "the access key")],
)
def test_a_credential_that_no_header_can_hold_is_named_and_not_told(store, pauses, monkeypatch, caplog, variable, kind):
    caplog.set_level(logging.INFO)  # at DEBUG botocore logs what it signs
    store.hold(b"body")
    monkeypatch.setenv(variable, "hunter2\nmore")
    s3.forget_client()
    with pytest.raises(CredentialsMissingError, match=rf"{kind}.* holds a line break") as caught:
        s3.head(URI)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert pauses == []


def test_a_password_in_a_proxys_address_is_not_told(store, pauses, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("http_proxy", "http://u:hunter2@h:99999")
    s3.forget_client()
    with pytest.raises(S3Error, match=r"failed \(HTTPClientError: LocationParseError\); check proxies") as caught:
        s3.head(URI)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("address", ["u:hunter2@h", "hunter2@h", "http://u:hunter2@[::1", "http://u:hunter2@h:99999"])
def test_a_password_in_an_endpoints_address_is_not_told(monkeypatch, address):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    with pytest.raises(S3Error, match="AWS") as caught:
        s3.head(URI)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_every_sentence_is_tried_here():
    assert set(errors._BY_CLASS) - {"Boto3Error"} <= {kind.__name__ for kind in every_class()}
