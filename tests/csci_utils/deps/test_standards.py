"""Markers, requirements and versions as the standards have them, and what a declaration brings besides itself."""

from __future__ import annotations

import dataclasses

import pytest

from csci_utils.deps.graph_building import brought_by
from csci_utils.deps.standards import applies, fits, requirement_of, same_version
from tests.csci_utils.deps.checking import environment_with


def brought(folder, wanted, **requires):
    installed = dict.fromkeys(requires, ())
    environment = environment_with(folder, installed, **requires)
    return brought_by([(name, ()) if isinstance(name, str) else name for name in wanted], environment)


def test_requirements_of_requirements_are_followed(tmp_path):
    found = brought(tmp_path, ["a"], a=["B_b>1", "c"], c=["d (>=2)"], d=[], x=["y"])
    assert found == {"b-b": ["a"], "c": ["a"], "d": ["c"]}


def test_circles_end(tmp_path):
    assert brought(tmp_path, ["a"], a=["b"], b=["a", "b"]) == {"b": ["a", "b"], "a": ["b"]}


def test_extras_are_followed_where_they_are_wanted(tmp_path):
    requires = {"a": ["b[fast]", 'z ; extra == "all"'], "b": ['c ; extra == "fast"', 'd ; extra == "slow"']}
    assert brought(tmp_path / "1", ["a"], **requires).keys() == {"b", "c"}
    assert brought(tmp_path / "2", [("a", ("all",))], **requires).keys() == {"b", "c", "z"}


def test_markers_are_the_environments(tmp_path):
    environment = environment_with(tmp_path, {"a": ()}, a=["old ; python_version < '3'", "win ; os_name == 'nt'"])
    there = dataclasses.replace(environment, markers={"python_version": "2.7", "os_name": "nt"})
    assert brought_by([("a", ())], environment) == {}
    assert brought_by([("a", ())], there) == {"old": ["a"], "win": ["a"]}


def test_what_is_missing_or_no_requirement_brings_nothing(tmp_path):
    assert brought(tmp_path, ["a", "gone"], a=["not a requirement", "b"]) == {"b": ["a"]}
    assert requirement_of("!") is None


@pytest.mark.parametrize("marker", [None, "no marker", "extra == 'x' or unknown_name == '1'"])
def test_what_cannot_be_told_applies(marker):
    assert applies(marker, {})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1.0", "1", True), ("1.0", "1.1", False), ("odd!", "odd!", True), ("odd!", "1", False), (None, None, True)],
)
def test_versions_are_one_as_versions_else_as_text(one, other, same):
    assert same_version(one, other) is same


@pytest.mark.parametrize(
    ("version", "specifier", "fitting"),
    [("2.0rc1", ">=1", True), ("1", ">1", False), ("odd!", ">1", None), (None, "", None), ("1", "odd!", None)],
)
def test_whether_a_version_fits_may_be_unknown(version, specifier, fitting):
    assert fits(version, specifier) is fitting
