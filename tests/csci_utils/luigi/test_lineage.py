from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

import luigi
import pytest

from csci_utils.luigi.task import CycleError, Requirement, Requires, TargetOutput, forget_versions, salted_version
from tests.conftest import REPO


class Source(luigi.ExternalTask):
    name = luigi.Parameter(default="a")
    workers = luigi.IntParameter(default=1, significant=False)


class Needs(luigi.Task):
    """Requires what its maker says, in whatever shape."""

    shape = luigi.Parameter()
    SHAPES: dict[str, object] = {}

    def requires(self):
        return self.SHAPES[self.shape]


def version_of(required: object) -> str:
    """The version of one and the same task if it required this."""
    Needs.SHAPES["x"] = required
    forget_versions()
    return salted_version(Needs("x"))


A, B, C = Source("a"), Source("b"), Source("c")


def test_a_version_is_the_digest_of_all_that_the_task_is_made_from():
    class Digested(luigi.Task):
        __version__ = "1.2"
        size = luigi.IntParameter(default=3)
        requires = Requires()
        one = Requirement(Source, name="ü")

    def digest(**own: object) -> str:
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()

    source = digest(task="Source", version=None, parameters={"name": "ü"}, requires=[])
    assert salted_version(Source("ü")) == source
    assert salted_version(Digested()) == digest(
        task="Digested", version="1.2", parameters={"size": "3"}, requires={"str one": source}
    )


def test_significant_parameters_count_and_others_do_not():
    assert salted_version(Source("a")) != salted_version(Source("b"))
    assert salted_version(Source("a", workers=1)) == salted_version(Source("a", workers=2))


def test_an_upstream_version_changes_every_name_downstream(monkeypatch):
    class First(luigi.ExternalTask):
        __version__ = "1"
        output = TargetOutput("{task.__class__.__name__}-{salt}")

    class Second(luigi.Task):
        requires = Requires()
        first = Requirement(First)
        output = TargetOutput("{task.__class__.__name__}-{salt}")

    class Third(Second):
        requires = Requires()
        first = None
        second = Requirement(Second)

    class Aside(First):
        __version__ = "1"

    tasks = [First(), Second(), Third(), Aside()]
    before = [task.output().path for task in tasks]
    assert before == [task.output().path for task in tasks]
    monkeypatch.setattr(First, "__version__", "2")
    after = [task.output().path for task in tasks]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True, True, False]
    monkeypatch.undo()
    assert [task.output().path for task in tasks] == before


def test_an_external_tasks_version_counts(monkeypatch):
    before = version_of(A)
    monkeypatch.setattr(Source, "__version__", 2, raising=False)
    assert salted_version(Needs("x")) != before
    two = salted_version(Needs("x"))
    monkeypatch.setattr(Source, "__version__", "2")
    assert salted_version(Needs("x")) == two


@pytest.mark.parametrize("version", [1.10, None, True, ["1"]])
def test_a_version_that_would_not_be_what_was_written_is_refused(version):
    class Odd(luigi.Task):
        __version__ = version

    if version is None:
        assert salted_version(Odd())
    else:
        with pytest.raises(TypeError, match=r"Odd\.__version__: wanted text or a whole number .*put it in quotes"):
            salted_version(Odd())


def test_the_order_of_a_dictionary_does_not_count_and_that_of_a_list_does():
    assert version_of({"x": A, "y": B}) == version_of({"y": B, "x": A})
    assert version_of([A, B]) != version_of([B, A])
    assert version_of({A, B, C}) == version_of({C, B, A})


def test_keys_and_nesting_count():
    shapes = [
        {"content": A, "style": B},
        {"content": B, "style": A},
        {"content": A, "model": B},
        {"content": [A], "style": [B]},
        {1: A, 2: B},
        {"1": A, "2": B},
        [A, B],
        [[A], B],
        [A],
        A,
        [],
        [A, A],
    ]
    assert len({version_of(shape) for shape in shapes}) == len(shapes)


def test_every_shape_that_luigi_takes_is_taken():
    nested = {"a": [A, (B, {"c": C})], "none": None}
    assert version_of(nested) == version_of({"none": [], "a": (A, [B, {"c": C}])})
    assert version_of(None) == version_of([])
    assert version_of(task for task in (A, B)) == version_of([A, B])


@pytest.mark.parametrize(
    "wrong", ["Source", 7, [A, "b"], {"a": luigi.LocalTarget("x")}], ids=["text", "number", "list", "dict"]
)
def test_requiring_what_is_no_task_is_named(wrong):
    with pytest.raises(TypeError, match=r"Needs\(shape=x\): wanted tasks from its requires\(\), found .*return a task"):
        version_of(wrong)


def test_tasks_of_one_name_in_two_namespaces_differ():
    class Same(luigi.Task):
        task_namespace = "one"

    first = Same

    class Same(luigi.Task):  # type: ignore[no-redef]
        task_namespace = "two"

    assert salted_version(first()) != salted_version(Same())


class Layer(luigi.Task):
    """Two ways down to the next layer: 2**depth ways in all."""

    depth = luigi.IntParameter()
    side = luigi.IntParameter(default=0)
    asked = 0

    def requires(self):
        type(self).asked += 1
        return [Layer(self.depth - 1, side) for side in (0, 1)] if self.depth else None


@pytest.mark.slow
def test_a_diamond_of_a_thousand_tasks_asks_each_once():
    """Deeper than Python's stack would go, too: 1,200 layers are 2,399 tasks, and 2**1200 ways."""
    Layer.asked = 0
    started = time.monotonic()
    salted_version(Layer(1200))
    assert Layer.asked == 2401
    assert time.monotonic() - started < 60
    for depth in range(1200):  # what a scheduler does: the name of each output
        salted_version(Layer(depth))
    assert Layer.asked == 2401


def test_tasks_whose_parameters_cannot_be_hashed_are_asked_once_too():
    class Unhashed(Layer):
        path = luigi.Parameter()

        def requires(self):
            type(self).asked += 1
            return [Unhashed(self.depth - 1, side, path={"x"}) for side in (0, 1)] if self.depth else None

    Unhashed.asked = 0
    with pytest.warns(UserWarning, match="not of type string"):
        salted_version(Unhashed(30, path={"x"}))
    assert Unhashed.asked == 61


class Ring(luigi.Task):
    place = luigi.IntParameter()
    size = luigi.IntParameter()

    def requires(self):
        return {"next": Ring((self.place + 1) % self.size, self.size), "source": A}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "way"),
    [
        (1, r"Ring\(place=0, size=1\) -> Ring\(place=0, size=1\)$"),
        (2, r"Ring\(place=0, size=2\) -> Ring\(place=1, size=2\) -> Ring\(place=0, size=2\)$"),
        (
            2000,
            r"\(1996 more\) -> Ring\(place=1999, size=2000\) -> Ring\(place=0, size=2000\)$",
        ),
    ],
)
def test_a_cycle_is_an_error_that_names_the_way_round(size, way):
    with pytest.raises(
        CycleError, match=rf"^Ring\(place=0, .*: wanted a task that does not require itself, found .*{way}"
    ):
        salted_version(Ring(0, size))


def test_a_class_that_is_defined_again_is_another_version():
    """What happens in a notebook: the class downstream is the old one, the name it looks up is new."""

    def define(version: str) -> type[luigi.Task]:
        class Upstream(luigi.ExternalTask):
            __version__ = version

        return Upstream

    classes = {"up": define("1")}

    class Downstream(luigi.Task):
        def requires(self):
            return classes["up"]()

    before = salted_version(Downstream())
    classes["up"] = define("2")
    assert salted_version(Downstream()) != before


def test_what_requires_answers_is_kept_until_it_is_forgotten():
    before = version_of(A)
    Needs.SHAPES["x"] = B
    assert salted_version(Needs("x")) == before
    forget_versions()
    assert salted_version(Needs("x")) != before


ELSEWHERE = """
import luigi
from csci_utils.luigi.task import Requirement, Requires, salted_version
class Source(luigi.ExternalTask):
    name = luigi.Parameter(default="a")
class Several(luigi.Task):
    __version__ = 3
    rate = luigi.FloatParameter(default=0.1)
    tags = luigi.DictParameter(default={"b": 1, "a": [1, 2]})
    def requires(self):
        return {"set": {Source(name) for name in "abcdef"}, "list": [Source("ü")]}
print(salted_version(Several()))
"""


@pytest.mark.slow
def test_every_process_finds_the_same_version():
    found = {
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPO,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{KNOWN}\n"}  # a change of this number renames every salted output there is


KNOWN = "9cba966e80029bcc2064c53e46e9b8bb022f17c53244040f8be01cbe219c24ce"


def test_a_walk_is_not_disturbed_by_forgetting():
    """As when another thread forgets meanwhile."""

    class Forgets(luigi.Task):
        def requires(self):
            forget_versions()
            return [A, B]

    assert salted_version(Forgets()) == salted_version(Forgets())
