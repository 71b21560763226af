from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from pipeline.gallery.page import embedded_json, is_gallery, page_of

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&lt;b&gt;",
    "\u2028\u2029",
    "\ud800",
    "\u202egpj.exe",
    "'\"`${alert(1)}",
    "{{script}} {{data}}",
    "\\u003c/script\\u003e",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_json_in_a_page_is_the_same_and_ends_no_script(text):
    written = embedded_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029\ud800]", written)
    assert written.isascii()


def test_numbers_that_json_does_not_have_are_left_out():
    assert json.loads(embedded_json({"a": [float("nan"), float("inf"), -0.5]})) == {"a": [None, None, -0.5]}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_name_stays_in_the_data(text):
    page, plain = page_of({"name": text}), page_of({"name": ""})
    assert page.replace(embedded_json({"name": text}), "") == plain.replace(embedded_json({"name": ""}), "")


def test_script_and_style_are_allowed_by_their_digests_alone():
    page = page_of({})
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, tag in (("script-src", "<script>"), ("style-src", "<style>")):
        body = re.search(f"{tag}(.*?)</", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_a_page_names_nothing_outside():
    page = page_of({})
    assert set(re.findall(r"https?:[^\s'\"]*", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert re.findall(r"<(?:link|script|img|iframe|object)[^>]*(?:src|href)=[\"'](?!data:)", page) == []
    assert re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", page) is None


def test_every_place_of_the_page_is_filled():
    assert re.search(r"\{\{[a-z]+\}\}", page_of({})) is None


def test_a_page_of_ours_is_known_again():
    assert is_gallery(page_of({})[:4096])
    assert not is_gallery("<!doctype html><title>My own page about neural-style-pipeline gallery</title>")
