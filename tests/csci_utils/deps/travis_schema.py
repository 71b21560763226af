"""What Travis takes as a `.travis.yml`, as far as it can be stated in a few rules.

Written from facts that Travis publishes:

- `schema.json` of github.com/travis-ci/travis-yml (the schema that Travis checks builds with): the keys of the root, of
  a job, of `jobs`, `cache` and a stage; that `jobs`, `cache` and a stage take no others; that lists of commands are
  not empty; that `matrix` is another name of `jobs`, and that a list there is short for its `include`; the known
  values of `dist`, `os` and `language`.
- docs.travis-ci.com, "Conditions" (v1): the grammar of `if`, its attributes, functions and predicates.
- docs.travis-ci.com, "Build Stages": the default stage is `test`; `skip` stands for no commands.
- docs.travis-ci.com, "Building a Python Project": versions are texts (`3.10` as a number would be `3.1`), aliases or
  exact, `-dev`, `nightly` and `pypy...`; without `script` the build fails.

The schema only warns of keys that it does not know at the root and in a job; here they are errors.
"""

from __future__ import annotations

import re
from typing import Any

COMMANDS = {
    *("before_install", "install", "before_script", "script", "before_cache"),
    *("after_success", "after_failure", "before_deploy", "after_deploy", "after_script"),
}
OF_A_JOB = {
    *COMMANDS,
    *("addons", "branches", "cache", "deploy", "git", "group", "if", "keys", "services", "virt", "workspaces"),
}
OF_PYTHON = {"python", "virtualenv", "virtual_env"}
OF_BOTH = {
    "arch",
    "compiler",
    "dist",
    "env",
    "language",
    "os",
    "osx_image",
    "sudo",
    "vault",
    "vm",
    *OF_A_JOB,
    *OF_PYTHON,
}
ROOT = {*OF_BOTH, "conditions", "import", "jobs", "matrix", "notifications", "stack", "stages", "version"}
JOB = {*OF_BOTH, "allow_failure", "name", "stage"}
JOBS = {"include", "exclude", "allow_failures", "allowed_failures", "fast_finish", "fast_failure"}
CACHES = {"apt", "bundler", "cargo", "ccache", "cocoapods", "npm", "packages", "pip", "yarn", "edge"}
DISTS = {"trusty", "precise", "xenial", "bionic", "focal", "jammy", "server-2016", "rhel8"}
ATTRIBUTES = {
    *("type", "repo", "branch", "tag", "commit_message", "sender", "fork", "head_repo", "head_branch"),
    *("os", "language", "sudo", "dist", "group"),
}


class InvalidError(Exception):
    """Travis would refuse it, warn of it, or take it for something else."""


def validate(config: Any) -> None:
    """Raise `InvalidError` for what breaks a rule."""
    _mapping(config, ROOT, "the root")
    _of_both(config, "the root")
    _require("script" in config, "the root: no script, so the build fails")
    stages = [_stage(each) for each in _listed(config.get("stages", []))]
    _require(len(stages) == len(set(stages)), "stages: one is named twice")
    _require(not {"jobs", "matrix"} <= config.keys(), "the root: jobs and matrix are one key")
    jobs = config.get("jobs", config.get("matrix", {}))
    jobs = jobs if isinstance(jobs, dict) else {"include": jobs}
    _mapping(jobs, JOBS, "jobs")
    for job in _listed(jobs.get("include", [])):
        _mapping(job, JOB, "a job")
        _of_both(job, "a job")
        _text(job.get("stage", "test"), "stage")
        _require(not stages or job.get("stage", "test") in stages, f"a job: no stage {job.get('stage')!r}")


def condition(text: Any) -> None:
    """Raise `InvalidError` for what is no condition of version 1."""
    _text(text, "if")
    rest = _any_of(_Tokens(text))
    _require(not rest.left, f"if: {text!r}: {rest.left[:1]} is one too many")


def _of_both(config: Any, where: str) -> None:
    _require(config.get("dist", "jammy") in DISTS, f"{where}: no dist {config.get('dist')!r}")
    _require(config.get("os", "linux") in ("linux", "osx", "windows"), f"{where}: no such os")
    _require(config.get("language", "python") in ("python", "generic"), f"{where}: no such language")
    for key in COMMANDS & config.keys():
        _texts(config[key], f"{where}: {key}")
    for python in _listed(config.get("python", [])):
        _text(python, "python")
        known = re.fullmatch(r"\d+\.\d+(\.\d+)?(-dev)?|nightly|pypy\S*", python)
        _require(known is not None, f"python: no version {python!r}")
    if "if" in config:
        condition(config["if"])
    if "cache" in config and config["cache"] is not False:
        _mapping(config["cache"], {"directories", "timeout", "branch", *CACHES}, "cache")
        _texts(config["cache"].get("directories", "x"), "cache: directories")
        _require(
            all(isinstance(config["cache"].get(each, True), bool) for each in CACHES), "cache: wanted true or false"
        )


def _stage(stage: Any) -> str:
    if isinstance(stage, dict):
        _mapping(stage, {"name", "if"}, "a stage")
        if "if" in stage:
            condition(stage["if"])
        stage = stage.get("name")
    _text(stage, "a stage")
    return str(stage)


class _Tokens:
    """The words of a condition, from the left."""

    def __init__(self, text: str) -> None:
        found = re.findall(r"""\s*(/[^/]*/|"[^"]*"|'[^']*'|&&|\|\||!~|!=|==|=~|~=|[=!(),]|[^\s=!(),~&|"']+)""", text)
        _require("".join(found) == re.sub(r"\s+(?=(?:[^\"']*[\"'][^\"']*[\"'])*[^\"']*$)", "", text), f"if: {text!r}")
        self.left = found

    def take(self, *words: str) -> bool:
        """Take the next word if it is one of these."""
        if self.left and self.left[0].upper() in words:
            self.left.pop(0)
            return True
        return False


def _any_of(tokens: _Tokens) -> _Tokens:
    _all_of(tokens)
    while tokens.take("OR", "||"):
        _all_of(tokens)
    return tokens


def _all_of(tokens: _Tokens) -> None:
    _one(tokens)
    while tokens.take("AND", "&&"):
        _one(tokens)


def _one(tokens: _Tokens) -> None:
    while tokens.take("NOT", "!"):
        pass
    if tokens.take("("):
        _any_of(tokens)
        _require(tokens.take(")"), "if: a bracket is open")
        return
    left = _operand(tokens)
    if tokens.take("=", "==", "!=", "=~", "~=", "!~"):
        _require(
            left.lower() in ATTRIBUTES or left.startswith("env(") or left[0] in "\"'", f"if: no attribute {left!r}"
        )
        _operand(tokens)
    elif tokens.take("IS"):
        tokens.take("NOT")
        _require(tokens.take("PRESENT", "BLANK", "TRUE", "FALSE"), "if: IS what?")
    else:
        negated = tokens.take("NOT")
        if tokens.take("IN"):
            _list(tokens)
        else:
            _require(not negated and left.lower() in ("true", "false"), f"if: {left!r} is compared with nothing")


def _operand(tokens: _Tokens) -> str:
    _require(bool(tokens.left) and tokens.left[0] not in ("(", ")", ",", "="), "if: something is missing")
    word = tokens.left.pop(0)
    _require(not word.startswith("$"), "if: a variable of the shell")
    if word.lower() in ("env", "concat") and tokens.left[:1] == ["("]:
        _list(tokens)
        return f"{word}("
    return word


def _list(tokens: _Tokens) -> None:
    _require(tokens.take("("), "if: wanted a list")
    _operand(tokens)
    while tokens.take(","):
        _operand(tokens)
    _require(tokens.take(")"), "if: a list is open")


def _mapping(value: Any, keys: set[str], where: str) -> None:
    _require(isinstance(value, dict), f"{where}: wanted keys and values, found {value!r}")
    _require(value.keys() <= keys, f"{where}: no such key {sorted(map(str, value.keys() - keys))}")


def _texts(value: Any, where: str) -> None:
    _require(value != [], f"{where}: wanted one or more")
    for each in _listed(value):
        _text(each, where)


def _text(value: Any, where: str) -> None:
    _require(isinstance(value, str) and bool(value), f"{where}: wanted a text, found {value!r}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise InvalidError(sentence)
