"""Plain text for a terminal: columns that line up, addresses that keep their password to themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "

_LOGIN = re.compile(r"(?P<scheme>[\w+]+)://(?P<user>[^/@:\s]*)(?::(?P<password>[^/\s]*))?@")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give each row as a line whose cells stand below each other; rows may have fewer cells than others."""
    widths = [max(len(cell) for cell in column) for column in zip_longest(*rows, fillvalue="")]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def without_password(address: str) -> str:
    """Give an address with `***` for its password, or for a token; what names a variable (`${TOKEN}`) stays."""
    return _LOGIN.sub(_masked, address)


def _masked(login: re.Match[str]) -> str:
    scheme, user, password = login.group("scheme", "user", "password")
    if password is None and scheme.endswith("ssh") or "${" in (password or user):
        return login[0]
    return f"{scheme}://***@" if password is None else f"{scheme}://{user}:***@"
