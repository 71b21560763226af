"""Foreign texts without what must not be read: logins in addresses, signed queries, values of headers.

An `@` alone is no sign of a login: results are called `cat@500.jpg`, profiles `dev@corp`. What is cut depends on whose
words they are; the most is cut from what is said of an address that could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_Cuts = list[tuple[re.Pattern[str], str]]

_OF_URLS: _Cuts = [
    (re.compile(r"(://)[^\s/?#:@\[]*:(?!\d*(?:[/?#\s\"']|$))[^\s/?#@]*[/?#]\S*@"), r"\1"),  # unquoted "/" in a password
    (re.compile(r"(//)[^\s/?#]*@"), r"\1"),
    (re.compile(r"([?&](?:x-amz-\w[\w-]*|signature|awsaccesskeyid)=)[^&\s\"']+", re.IGNORECASE), r"\1"),
]
_OF_OTHERS: _Cuts = [
    (re.compile(r"(invalid header value).+", re.IGNORECASE | re.DOTALL), r"\1"),
    (re.compile(r"(port could not be cast to integer value).+", re.IGNORECASE | re.DOTALL), r"\1"),
    (re.compile(r"((?:failed to parse|invalid endpoint)[^:\n]*:\s*(?:\w+://)?).*@", re.IGNORECASE | re.DOTALL), r"\1"),
    (re.compile(r"(//\S*?)\?\S*"), r"\1"),
    *_OF_URLS,
]
_OF_ADDRESSES: _Cuts = [
    *_OF_OTHERS[:-1],
    (re.compile(r"//.*@", re.DOTALL), "//"),
    (re.compile(r"\S*:.*@|\S+@", re.DOTALL), ""),  # "user:password@host" that names no scheme
]
_BY_CLASS: dict[str, _Cuts] = {
    **dict.fromkeys(("ProfileNotFound", "ConfigParseError", "ConfigNotFound"), []),  # a name or a path, no more
    "ClientError": _OF_URLS,  # the store's own words
    **dict.fromkeys(
        (
            "ConnectionError",
            "EndpointProviderError",
            "HTTPClientError",
            "HTTPError",
            "InvalidEndpointConfigurationError",
            "InvalidIMDSEndpointError",
        ),
        _OF_ADDRESSES,
    ),
}
_MODULES = {"botocore", "boto3", "s3transfer", "urllib3", "http", "ssl"}
_TLS_REASON = re.compile(r"\[SSL[^\]]*\][^(\"'\\]*")


def without_secrets(text: str) -> str:
    """Cut logins and queries out of a text's addresses, and all of what could not be read as an address or header."""
    return _cut(text, _OF_OTHERS)


def without_logins(text: str) -> str:
    """Cut logins and signatures out of the addresses in a store's own words, which name keys too; nothing else."""
    return _cut(text, _OF_URLS)


def told_by(err: BaseException) -> str:
    """Return an exception's text without secrets, as much of it as its kind allows."""
    return _cut(str(err), _cuts_for(err))


def strip_secrets(err: BaseException, *, before: BaseException | None = None) -> bool:
    """Cut secrets out of an exception and all that led to it, for tracebacks print them all.

    Exceptions of the libraries that talk to a store are changed in place; others never are.

    Args:
        err: the exception.
        before: what was being handled when the work began, which is its owner's and ends the chain.

    Returns:
        Whether no secret is left; one may be in an exception of others, or in one that makes its text from elsewhere.
    """
    known = {id(each) for each in _chain(before)}
    clean = True
    for each in _chain(err, set() if id(err) in known else known):
        if told_by(each) != str(each):
            if _is_libraries(each):
                each.args = tuple(_cut_arg(arg, _cuts_for(each)) for arg in each.args)
            clean = clean and told_by(each) == str(each)
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


def _cut(text: str, cuts: _Cuts) -> str:
    for pattern, kept in cuts:
        text = pattern.sub(kept, text)
    return text


def _cut_arg(arg: object, cuts: _Cuts) -> object:
    text = arg if isinstance(arg, str) else repr(arg)
    return arg if _cut(text, cuts) == text else _cut(text, cuts)


def _cuts_for(err: BaseException) -> _Cuts:
    if _root(type(err).__module__) not in _MODULES:
        return _OF_OTHERS
    return next((_BY_CLASS[cls.__name__] for cls in type(err).__mro__ if cls.__name__ in _BY_CLASS), _OF_OTHERS)


def _is_libraries(err: BaseException) -> bool:
    """Tell whether one of the libraries made an exception: its class is theirs, or a built-in that they raised."""
    raised_in, tb = "", err.__traceback__
    while tb is not None:
        raised_in, tb = str(tb.tb_frame.f_globals.get("__name__", "")), tb.tb_next
    return not {_root(type(err).__module__), _root(raised_in)}.isdisjoint(_MODULES)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _chain(err: BaseException | None, known: set[int] | None = None) -> Iterator[BaseException]:
    """Walk an exception and all that led to it, but for the known ones and what led to them."""
    seen = set(known or ())
    waiting = [err]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
