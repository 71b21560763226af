"""The most common thing that is neither a picture nor a model: the error page that a download got instead."""

from __future__ import annotations

_BEGINNINGS = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")


def is_web_page(head: bytes) -> bool:
    """Tell from a file's first bytes whether it is one."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_BEGINNINGS)
