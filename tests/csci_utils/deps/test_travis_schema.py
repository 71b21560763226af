"""The rules that generated files are held to would see what breaks them."""

from __future__ import annotations

import pytest

from tests.csci_utils.deps.travis_schema import InvalidError, condition, validate

GOOD = {"language": "python", "python": ["3.10"], "script": ["pytest"]}


@pytest.mark.parametrize(
    "config",
    [
        GOOD,
        GOOD | {"script": "skip", "cache": False, "if": "branch = master", "dist": "jammy"},
        GOOD | {"stages": ["test", {"name": "deploy", "if": "tag IS present"}], "jobs": [{"stage": "deploy"}]},
        GOOD | {"matrix": {"include": {"name": "x"}, "fast_finish": True}, "cache": {"pip": True, "directories": "x"}},
        GOOD | {"python": ["3.6-dev", "nightly", "pypy3", "3.7.4"]},
    ],
)
def test_what_travis_takes(config):
    validate(config)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"pyhton": "3.7"}, r"the root: no such key \['pyhton'\]"),
        ({"python": [3.1]}, "python: wanted a text, found 3.1"),
        ({"python": "three"}, "python: no version 'three'"),
        ({"dist": "noble"}, "no dist 'noble'"),
        ({"language": "snake"}, "no such language"),
        ({"script": []}, "script: wanted one or more"),
        ({"install": [{"a": 1}]}, "install: wanted a text"),
        ({"cache": {"pipenv": True}}, r"cache: no such key \['pipenv'\]"),
        ({"cache": {"pip": "yes"}}, "cache: wanted true or false"),
        ({"cache": {"directories": []}}, "directories: wanted one or more"),
        ({"stages": [{"name": "a", "when": "b"}]}, r"a stage: no such key \['when'\]"),
        ({"stages": ["a", "a"]}, "named twice"),
        ({"stages": [{"if": "branch = x"}]}, "a stage: wanted a text"),
        ({"stages": ["test"], "jobs": {"include": [{"stage": "deploy"}]}}, "no stage 'deploy'"),
        ({"jobs": {"includes": []}}, r"jobs: no such key \['includes'\]"),
        ({"jobs": {"include": [{"stag": "x"}]}}, r"a job: no such key \['stag'\]"),
        ({"jobs": {}, "matrix": {}}, "one key"),
        ({"jobs": {"include": [{"if": "branch"}]}}, "compared with nothing"),
    ],
)
def test_what_travis_does_not_take(more, sentence):
    with pytest.raises(InvalidError, match=sentence):
        validate(GOOD | more)


def test_a_build_without_a_script_fails():
    with pytest.raises(InvalidError, match="no script"):
        validate({"language": "python"})


@pytest.mark.parametrize(
    "text",
    [
        "branch = master",
        "branch = master AND type != pull_request",
        "tag =~ ^v1",
        "branch =~ /^(one|two)-three$/",
        "type IN (push, pull_request)",
        "branch NOT IN (master, dev) OR NOT fork = true",
        "env(FOO) = env(BAR) && (tag IS NOT blank || os == linux)",
        "sender != 'deploy bot'",
        "env(env(FOO)) IS present",
        "true",
    ],
)
def test_conditions_that_travis_takes(text):
    condition(text)


@pytest.mark.parametrize(
    "text",
    ["", "branch", "branch =", "branch = master AND", "bransh = master", "(branch = master", "branch = $BRANCH"]
    + ["branch IS master", "type IN push", "type IN (push", "branch = a b", "type IN ()", "branch = (a)", 5],
)
def test_conditions_that_travis_does_not_take(text):
    with pytest.raises(InvalidError, match="if: "):
        condition(text)
