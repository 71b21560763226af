"""Requirements as a graph: extras where they are asked for, markers, states, circles, tops."""

from __future__ import annotations

import random

import pytest

from csci_utils.deps.graph import circles
from csci_utils.deps.graph_building import Package, build_graph

LINUX = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.7",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "platform_python_implementation": "CPython",
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def package(name, version="1.0", *requires, **rest):
    return Package(name=name, spelled=name, version=version, requires=requires, **rest)


def graph(*packages, markers=LINUX):
    return build_graph(packages, markers)


def edges(found, *facts):
    return [tuple(getattr(edge, fact) for fact in ("source", "target", *facts)) for edge in found.edges]


@pytest.mark.parametrize(
    ("required", "installed", "state"),
    [
        ("b", "2.0", "ok"),
        ("b>=1,<3", "2.0", "ok"),
        ("b>=2", "2.0rc1", "conflict"),
        ("b>=1", "2.0rc1", "ok"),  # what is installed is installed, a pre-release or not
        ("b<2", "2.0", "conflict"),
        ("b==2.*", "2.0+cpu", "ok"),
        ("b===odd", "odd", "unknown"),
        ("b>1", "odd!", "unknown"),
        ("b>1", None, "unknown"),
        ("b", None, "ok"),
        ("b @ https://host.invalid/b.zip", "2.0", "ok"),
        ("B_ (>=1)", "2.0", "missing"),
    ],
)
def test_what_is_required_is_compared_with_what_is_there(required, installed, state):
    found = graph(package("a", "1.0", required), package("b", installed))
    (edge,) = found.edges
    assert edge.state == state
    assert edge.installed == (None if state == "missing" else installed)


def test_versions_are_written_from_the_lower_bound_and_addresses_as_they_stand():
    found = graph(package("a", "1", "b<3,!=2.1,>=1", "c", "d @ https://host.invalid/d.zip"))
    assert edges(found, "required") == [
        ("a", "b", ">=1,<3,!=2.1"),
        ("a", "c", ""),
        ("a", "d", "@ https://host.invalid/d.zip"),
    ]


def test_a_requirement_whose_marker_is_false_is_not_there():
    requires = ("b; sys_platform == 'win32'", "c; python_version >= '3.8'", "d; extra == 'x'")
    found = graph(package("a", "1", *requires))
    assert edges(found, "marker") == [("a", "c", 'python_version >= "3.8"')]
    windows = graph(package("a", "1", *requires), markers={**LINUX, "sys_platform": "win32", "python_version": "3.7"})
    assert edges(windows) == [("a", "b")]


def test_extras_that_are_asked_for_bring_their_requirements_and_no_others():
    found = graph(
        package("a", "1", "b[x]"),
        package("b", "1", "c", "d; extra == 'x'", "e; extra == 'y'"),
        package("other", "1", "b"),
    )
    assert edges(found, "by_extras") == [
        ("a", "b", ()),
        ("b", "c", ()),
        ("b", "d", ("x",)),
        ("other", "b", ()),
    ]
    assert [edge.target for edge in found.below("b", ())] == ["c"]
    assert [edge.target for edge in found.below("b", {"x"})] == ["c", "d"]
    assert [edge.source for edge in found.above("b", {"x"})] == ["a"]
    assert found.nodes["b"].extras == ("x",)
    assert found.nodes["d"].missing


def test_extras_go_on_through_others_and_through_all():
    found = graph(
        package("a", "1", "b[all]"),
        package(
            "b", "1", "B[one]; extra == 'all'", "b[Two_2]; extra == 'all'", "c[z]; extra == 'one'", "d;extra=='two-2'"
        ),
        package("c", "1", "e; extra == 'z'"),
    )
    assert edges(found, "by_extras") == [
        ("a", "b", ()),
        ("b", "c", ("one",)),
        ("b", "d", ("two-2",)),
        ("c", "e", ("z",)),
    ]
    assert [edge.target for edge in found.below("b", {"all"})] == ["c", "d"]
    assert [edge.source for edge in found.above("b", {"one"})] == ["a"]


def test_extras_that_the_pipfile_asks_for_count():
    packages = [package("a", "1", "b; extra == 'x'", "c; extra == 'y'", asked=("x",))]
    found = graph(*packages)
    assert edges(found) == [("a", "b")]
    assert found.tops == (("a", frozenset({"x"})),)


def test_what_is_asked_for_with_an_extra_is_a_top_where_nothing_else_asks_for_that_extra():
    b = package("b", "1", "c; extra == 'x'", asked=("x",))
    assert dict(graph(package("a", "1", "b"), b).tops) == {"a": frozenset(), "b": frozenset({"x"})}
    assert dict(graph(package("a", "1", "b[x]"), b).tops) == {"a": frozenset()}


def test_names_are_one_in_every_spelling():
    found = graph(package("zope-interface", "5"), package("a", "1", "Zope.Interface>=4", "ZOPE_interface<4"))
    assert edges(found, "state") == [("a", "zope-interface", "conflict"), ("a", "zope-interface", "ok")]


def test_a_requirement_that_cannot_be_read_is_said_and_the_others_stay():
    requires = ("b (>=1.*", "c; nothing == '1'", "d>=1", "", "e; python_version ~= 'x'")
    found = graph(package("a", "1", *requires))
    assert edges(found) == [("a", "d")]
    assert found.nodes["a"].problems[0] == "its requirement 'b (>=1.*' cannot be read and is left out"
    assert len(found.nodes["a"].problems) == 4


def test_the_same_requirement_twice_is_one():
    found = graph(package("a", "1", "b>=1", "B>=1", "b>=1 ; python_version > '3'"))
    assert edges(found, "marker") == [("a", "b", None), ("a", "b", 'python_version > "3"')]


def test_circles_are_found():
    found = graph(
        package("a", "1", "b", "out"), package("b", "1", "c"), package("c", "1", "a"), package("in", "1", "a")
    )
    assert edges(found, "cycle") == [
        ("a", "b", True),
        ("a", "out", False),
        ("b", "c", True),
        ("c", "a", True),
        ("in", "a", False),
    ]
    assert found.tops == (("in", frozenset()),)


def test_a_circle_without_a_top_has_its_first_name():
    found = graph(package("c", "1", "b"), package("b", "1", "c"), package("self", "1", "self"), package("z", "1"))
    assert [name for name, _ in found.tops] == ["b", "self", "z"]
    assert all(edge.cycle for edge in found.edges)


def test_of_a_circle_the_top_is_what_the_pipfile_asks_for():
    found = graph(package("z", "1", "b; extra == 'x'", asked=("x",)), package("b", "1", "z[x]"))
    assert found.tops == (("z", frozenset({"x"})),)


def test_a_distribution_may_always_want_an_extra_of_its_own():
    found = graph(package("a", "1", "a[x]", "b; extra == 'x'"))
    assert [edge.target for edge in found.below("a", ())] == ["b"]
    assert not any(edge.cycle for edge in found.edges)


def test_an_extra_closes_a_circle_only_for_who_asks_for_it():
    b = package("b", "1", "a; extra == 'x'")
    assert edges(graph(package("a", "1", "b[x]"), b), "cycle") == [("a", "b", True), ("b", "a", True)]
    apart = graph(package("a", "1", "b"), b, package("c", "1", "b[x]"))
    assert edges(apart, "cycle") == [("a", "b", False), ("b", "a", False), ("c", "b", False)]
    assert [name for name, _ in apart.tops] == ["c"]


def test_nothing_is_a_graph_too():
    assert graph().tops == ()


def test_circles_are_those_that_lead_to_each_other():
    """Against another route: a pair is in a circle where each can be reached from the other."""
    seed = random.Random(20)
    for _ in range(200):
        names = range(seed.randint(1, 9))
        below = {name: [other for other in names if seed.random() < 0.2] for name in names}
        reach = {name: {name} for name in names}
        for _ in names:
            for name in names:
                reach[name] |= {far for near in reach[name] for far in below[near]}
        number = circles(below)
        same = {(a, b) for a in names for b in names if number[a] == number[b]}
        assert same == {(a, b) for a in names for b in names if b in reach[a] and a in reach[b]}


@pytest.mark.slow
def test_circles_take_a_chain_longer_than_the_stack():
    size = 5000
    assert len(set(circles({n: [n + 1] for n in range(size)}).values())) == size + 1
    assert len(set(circles({n: [(n + 1) % size] for n in range(size)}).values())) == 1
