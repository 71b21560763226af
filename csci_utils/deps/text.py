"""Plain text for a terminal: columns that line up, addresses that keep their secrets to themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

GAP = "  "

_ADDRESS = re.compile(r"(?:ssh)?://\S+")
_LOGIN = re.compile(
    r"(?P<ssh>ssh)?://(?P<user>[^/@:\s\[]*(?P<mail>@[^/:\s\[]*)?)"
    r"(?::(?P<password>[^/\s]*|(?(ssh)(?(mail)(?!)))(?!\d*/)[^@\s]{0,512}))?@"
)
"""Up to the last `@` of the authority, for a user may be an e-mail. The second kind of password holds a slash that
nobody escaped; after a port a slash begins the path, and so it does after `ssh://git@host:owner`."""
_VARIABLE = re.compile(r"\$\{\w+\}")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give each row as a line whose cells stand below each other; rows may have fewer cells than others."""
    widths = [max(len(cell) for cell in column) for column in zip_longest(*rows, fillvalue="")]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def without_secrets(text: str) -> str:
    """Give a text with `***` for the user, the password and the query of every address in it.

    A user alone may be a token, and a query a signature. What names a variable (`${TOKEN}`) and the user of ssh stay.
    """
    return _ADDRESS.sub(_shown, text)


def all_without_secrets(value: Any) -> Any:
    """Give what TOML or JSON holds, with every text in it as `without_secrets` gives it."""
    if isinstance(value, Mapping):
        return {key: all_without_secrets(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_without_secrets(each) for each in value]
    return without_secrets(value) if isinstance(value, str) else value


def quoted(value: object, *, longest: int = 60) -> str:
    """Give what was found as Python writes it, for a sentence: cut after so many characters, and never in a secret."""
    return without_secrets(repr(value))[:longest]


def _shown(address: re.Match[str]) -> str:
    place, number_sign, fragment = _LOGIN.sub(_masked, address[0]).partition("#")
    place, question_mark, query = place.partition("?")
    return f"{place}{question_mark}{'***' if query else ''}{number_sign}{fragment}"


def _masked(login: re.Match[str]) -> str:
    ssh, user, password = login.group("ssh", "user", "password")
    if ssh and password is None:
        return login[0]
    parts = [each if _VARIABLE.fullmatch(each) else "***" for each in (user, password) if each is not None]
    return f"{ssh or ''}://{':'.join(parts) if set(parts) != {'***'} else '***'}@"
