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


OWN_WORDS = (foreign.ProfileNotFound, foreign.ConfigParseError, foreign.ConfigNotFound)
"""Errors that quote a profile's name or a file's path, and no address."""


def made(kind: type[foreign.BotoCoreError], leak: str) -> Exception:
    """The error as botocore words it, with a secret in each of its words, and in what led to it."""
    fields = {name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}
    err = kind.__new__(kind)
    Exception.__init__(err, kind.fmt.format(**dict.fromkeys(fields, "me" if kind in OWN_WORDS else leak)))
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "address",
    [
        "u:hunter2@h",
        "hunter2@h",
        "u: hunter2@h",
        "http://u:hunter2@[::1",
        "http://u:hunter2@h:99999",
        "http://u:hunter2/x@h",
    ],
)
def test_a_password_in_an_endpoints_address_is_not_told(monkeypatch, pauses, caplog, address):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    with pytest.raises(S3Error, match="AWS|cannot connect") as caught:
        s3.head(URI)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("AWS_PROFILE", "dev@corp", "The config profile (dev@corp) could not be found; check AWS_PROFILE"),
        ("AWS_PROFILE", "a:b c@corp", "The config profile (a:b c@corp) could not be found"),
        ("AWS_CONFIG_FILE", "me@corp.com/config", "me@corp.com/config; mend it"),
        ("AWS_SHARED_CREDENTIALS_FILE", "a: b/me@corp.com/config", "a: b/me@corp.com/config; mend it"),
    ],
)
def test_a_profile_and_a_path_keep_their_at_sign(monkeypatch, tmp_path, variable, value, sentence):
    if variable != "AWS_PROFILE":
        (tmp_path / value).parent.mkdir(parents=True)
        (tmp_path / value).write_text("[default\nx")
        value, sentence = str(tmp_path / value), str(tmp_path / sentence)
    monkeypatch.setenv(variable, value)
    with pytest.raises(S3Error) as caught:
        s3.client()
    assert sentence in str(caught.value)
    assert sentence.partition(";")[0] in str(caught.value.__cause__)


def store_error(message: str) -> foreign.ClientError:
    return foreign.ClientError({"Error": {"Code": "Odd", "Message": message}}, "GetObject")


@pytest.mark.parametrize(
    "message",
    [
        "Key images/cat@500.jpg is odd",
        "Failed to parse: key images/cat@500.jpg",
        "https://store:9000/a has no cat@500.jpg: ask bob@x.org",
        "https://store:9000/images/cat@500.jpg is odd",
        "http://[::1]:9000/images/cat@500.jpg is odd",
        "s3://bucket/what?/cat@500.jpg is odd",
    ],
)
def test_a_message_of_the_stores_keeps_its_keys(message):
    with pytest.raises(S3Error) as caught, translated(URI, "read it"):
        raise store_error(message)
    assert str(caught.value).endswith(message)
    assert str(caught.value.__cause__).endswith(message)


@pytest.mark.parametrize(
    "message", ["see http://u:hun@ter2@h/k", "see http://h/k?X-Amz-Signature=hunter2&x", "see http://u:hunter2/x@h/k"]
)
def test_a_message_of_the_stores_tells_no_login(message):
    with pytest.raises(S3Error, match="see http") as caught, translated(URI, "read it"):
        raise store_error(message)
    assert "ter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        "mail bob@x.org and cat@500.jpg",
        "https://store:9000/a: cat@500.jpg\nand dog@500.jpg",
        "s3://bucket/cat@500.jpg, s3://bucket/dog@500.jpg",
        'Invalid bucket name "me@corp": wanted another',
    ],
)
def test_an_at_sign_outside_of_an_address_stays(text):
    assert without_secrets(text) == text


def test_a_login_is_cut_and_the_rest_of_the_line_stays():
    assert without_secrets("from http://u:hunter2@h:1/a@2.jpg to b@2.jpg") == "from http://h:1/a@2.jpg to b@2.jpg"


def translated_while_handled(handled: Exception, raised: Exception) -> S3Error:
    """Let an error pass the border while its caller handles another one, or the same."""
    try:
        raise handled
    except Exception:
        with pytest.raises(S3Error, match="odd") as caught, translated(URI, "read it"):
            raise raised  # noqa: B904
    return caught.value


def test_exceptions_of_others_stay_as_they_were():
    mine, inner = ValueError("mail bob@x.org and cat@500.jpg", 1), ValueError("http://u:hunter2@h")
    mine.__cause__ = inner
    error = translated_while_handled(mine, store_error("odd"))
    assert mine.args == ("mail bob@x.org and cat@500.jpg", 1)
    assert inner.args == ("http://u:hunter2@h",)
    assert isinstance(error.__cause__, foreign.ClientError)


def test_the_chain_ends_at_what_was_handled_before():
    mine = foreign.ClientError({"Error": {}}, "GetObject")
    mine.args = ("http://u:hunter2@h",)
    assert isinstance(translated_while_handled(mine, store_error("odd")).__cause__, foreign.ClientError)
    assert mine.args == ("http://u:hunter2@h",)


def test_an_exception_of_anothers_that_tells_a_secret_is_left_out_and_not_changed():
    mine = ValueError("http://u:hunter2@h")
    with pytest.raises(S3Error, match="odd") as caught, translated(URI, "read it"):
        raise store_error("odd") from mine
    assert mine.args == ("http://u:hunter2@h",)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_error_that_was_there_before_is_cut_with_all_that_led_to_it():
    secret = "odd http://u:hunter2@h"
    err, led = store_error(secret), store_error(secret)
    err.__cause__ = led
    error = translated_while_handled(err, err)
    assert error.__cause__ is err
    assert "hunter2" not in f"{error} {err} {led}"


def test_cut_exceptions_keep_the_number_of_their_args():
    err = foreign.ClientError({"Error": {}}, "GetObject")
    err.args = ("http://u:hunter2@h", 7, ValueError("http://u:hunter2@h"))
    assert strip_secrets(err)
    assert err.args[:2] == ("http://h", 7)
    assert len(err.args) == 3
    assert "hunter2" not in str(err)


def test_every_sentence_is_tried_here():
    told_without_its_words = {"ResponseParserError"}  # of another module than the rest
    assert set(errors._BY_CLASS) - {"Boto3Error"} - told_without_its_words <= {kind.__name__ for kind in every_class()}
