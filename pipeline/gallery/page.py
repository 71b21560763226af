"""One HTML file of a table: script and style within it, allowed by their digests, and nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

GENERATOR = "neural-style-pipeline gallery"
"""By which a page of ours is known again."""

_PLACE = re.compile(r"\{\{([a-z]+)\}\}")
# In JSON these stand in texts only, and an HTML parser takes none of what is left for an end of the script.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page_of(table: Mapping[str, Any]) -> str:
    """Write the page that shows a table."""
    style, script = _part("style.css"), _part("script.js")
    parts = {
        "generator": GENERATOR,
        "policy": _policy(script=script, style=style),
        "style": style,
        "script": script,
        "data": embedded_json(table),
    }
    return _PLACE.sub(lambda match: parts[match[1]], _part("page.html"))


def embedded_json(value: Any) -> str:
    """Write JSON that is safe inside a ``<script>``, whatever its texts hold; ASCII alone."""
    try:
        text = _json(value)
    except ValueError:  # NaN and its like, which Python reads in others' records, and JSON does not have
        text = _json(json.loads(json.dumps(value), parse_constant=lambda _: None))
    return "".join(_UNSAFE.get(char, char) for char in text) if _UNSAFE.keys() & set(text) else text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def is_gallery(page: str) -> bool:
    """Tell whether an HTML file is a page of ours."""
    return f'<meta name="generator" content="{GENERATOR}">' in page


def _policy(*, script: str, style: str) -> str:
    """Allow this script, this style and pictures beside the page; some browsers do not take ``file:`` for 'self'."""
    rules = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "img-src": "'self' file: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _part(name: str) -> str:
    return (files("pipeline.gallery") / name).read_text(encoding="utf-8")
