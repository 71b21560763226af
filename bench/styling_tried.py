"""What was tried to make styling faster, with what it brought: sentences, since the code of most of it is gone."""

from __future__ import annotations

TRIED: list[str] = []
