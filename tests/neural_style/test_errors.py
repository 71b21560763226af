"""Every message is one line, whatever the names and libraries in it say."""

from __future__ import annotations

import errno
import pickle

import pytest

from neural_style import errors
from neural_style.errors import NeuralStyleError, PictureNotFoundError, one_line, output_error

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NeuralStyleError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb: no", "a b: no"),
        ("a \r\n\t\x1b[31m b", "a [31m b"),
        ("a\u2028b\udc80c", "a b c"),
        ("two  spaces.jpg: no", "two  spaces.jpg: no"),
    ],
    ids=["newline", "controls", "unicode", "spaces-stay"],
)
def test_a_message_is_one_line(kind: type[NeuralStyleError], text: str, line: str) -> None:
    assert str(kind(text)) == line
    assert str(pickle.loads(pickle.dumps(kind(text)))) == line  # as it arrives from another process


def test_there_are_errors_to_check() -> None:
    assert len(KINDS) >= 7


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.PictureError, ValueError),
        (errors.PictureTooLargeError, errors.PictureError),
        (PictureNotFoundError, FileNotFoundError),
        (errors.WeightsError, ValueError),
        (errors.DeviceError, RuntimeError),
        (errors.EngineError, RuntimeError),
        (errors.OutputError, OSError),
    ],
)
def test_errors_are_what_a_caller_would_catch(kind: type[Exception], expected: type[Exception]) -> None:
    assert issubclass(kind, expected)


def test_the_systems_reason_and_number_are_kept() -> None:
    fault = output_error("a/b.jpg", OSError(errno.ENOSPC, "No space left on device"))
    assert str(fault) == "a/b.jpg: could not be written: No space left on device; free some and run it again"
    assert fault.errno == errno.ENOSPC


def test_nothing_is_lost_from_a_plain_line() -> None:
    assert one_line("größe 3 × 4: ok") == "größe 3 × 4: ok"
