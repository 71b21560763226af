"""Foreign texts without what must not be read: logins in addresses, signed queries, values of headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CUTS = [
    (re.compile(r"(invalid header value).*", re.IGNORECASE | re.DOTALL), r"\1"),
    (re.compile(r"(//\S*?)\?\S*"), r"\1"),
    (re.compile(r"//.*@", re.DOTALL), "//"),
    (re.compile(r"\S*:.*@|\S+@", re.DOTALL), ""),  # "user:password@host" that names no scheme
]
_TLS_REASON = re.compile(r"\[SSL[^\]]*\][^(\"'\\]*")


def without_secrets(text: str) -> str:
    """Cut what may be a login, a signature or a key out of a text: rather a word too many than one too few."""
    for pattern, kept in _CUTS:
        text = pattern.sub(kept, text)
    return text


def strip_secrets(err: BaseException) -> bool:
    """Cut secrets out of an exception and all that led to it, in place, for tracebacks print them all.

    Returns:
        Whether none is left; an exception may make its text from elsewhere.
    """
    clean = True
    for each in _chain(err):
        text = str(each)
        if without_secrets(text) != text:
            each.args = (without_secrets(text),)
            clean = clean and without_secrets(str(each)) == str(each)
    return clean


def reason_of(err: BaseException) -> str:
    """Name a failed connection by classes, and by what the TLS library says, which knows no secret."""
    inner = getattr(err, "kwargs", {}).get("error")
    kind = type(inner).__name__
    name = type(err).__name__ + (f": {kind}" if isinstance(inner, BaseException) and kind != type(err).__name__ else "")
    said = _TLS_REASON.search(str(err))
    return f"{name}: {said[0].strip()}" if said else name


def bad_header(err: BaseException) -> str | None:
    """Say which credential cannot be sent, where a header's value was refused on this side; else None."""
    text = str(err)
    if "invalid header value" not in text.lower():
        return None
    return "the access key" if "AWS4-HMAC" in text or "b'AWS " in text else "the session token"


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [err]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
