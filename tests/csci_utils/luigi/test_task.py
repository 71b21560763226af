from __future__ import annotations

import datetime
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import luigi
import luigi.util
import pytest
from luigi.parameter import MissingParameterException

from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.luigi.task import Requirement, Requires, TargetOutput, salted_version
from tests.conftest import REPO


class Fetch(luigi.ExternalTask):
    day = luigi.DateParameter(default=datetime.date(2020, 2, 29))
    name = luigi.Parameter(default="all")


class Clean(luigi.Task):
    day = luigi.DateParameter(default=datetime.date(2021, 1, 1))
    requires = Requires()
    raw = Requirement(Fetch)
    named = Requirement(Fetch, name="cat")


# --- Requirement and Requires


def test_a_requirement_is_the_task_with_shared_parameters():
    task = Clean(day=datetime.date(2022, 3, 4))
    assert task.raw is Fetch(day=datetime.date(2022, 3, 4))
    assert task.named == Fetch(day=datetime.date(2022, 3, 4), name="cat")
    assert task.requires() == {"raw": task.raw, "named": task.named}
    assert list(task.requires()) == ["raw", "named"]


def test_given_parameters_win_over_shared_ones():
    class Late(Clean):
        raw = Requirement(Fetch, day=datetime.date(1999, 9, 9))

    assert Late().raw.day == datetime.date(1999, 9, 9)


def test_a_function_gets_the_task_that_requires():
    class Late(Clean):
        raw = Requirement(Fetch, day=lambda task: task.day - datetime.timedelta(days=1))

    assert Late().raw.day == datetime.date(2020, 12, 31)


def test_a_class_as_a_parameter_is_a_value_and_not_called():
    class Of(luigi.Task):
        of = luigi.TaskParameter()

    class Holder(luigi.Task):
        other = Requirement(Of, of=Fetch)

    assert Holder().other.of is Fetch


def test_on_the_class_there_is_the_descriptor_itself():
    assert isinstance(Clean.raw, Requirement)
    assert Clean.raw.task_class is Fetch
    assert isinstance(Clean.requires, Requires)
    assert isinstance(Styled.output, TargetOutput)


def test_requirements_are_inherited_replaced_and_removed():
    class Sub(Clean):
        raw = None
        named = Requirement(Fetch, name="dog")
        third = Requirement(Fetch, name="third")

    assert {name: task.name for name, task in Sub().requires().items()} == {"named": "dog", "third": "third"}
    assert Sub().raw is None
    assert set(Clean().requires()) == {"raw", "named"}  # the base class is as it was

    class Again(Sub):
        raw = Requirement(Fetch, name="back")

    assert {name: task.name for name, task in Again().requires().items()} == {
        "raw": "back",
        "named": "dog",
        "third": "third",
    }


def test_several_base_classes_follow_pythons_order():
    class Left:
        shared = Requirement(Fetch, name="left")
        left = Requirement(Fetch, name="only left")

    class Right:
        shared = Requirement(Fetch, name="right")
        gone = Requirement(Fetch)

    class NoGone:
        gone = None

    class Both(NoGone, Left, Right, luigi.Task):
        requires = Requires()

    assert {name: task.name for name, task in Both().requires().items()} == {"shared": "left", "left": "only left"}


def test_a_requirement_replaced_by_something_else_is_named():
    class Sub(Clean):
        def raw(self):
            """Take the name without knowing."""

    with pytest.raises(TypeError, match=r"Sub\.raw: a base class has a Requirement of that name, found <function"):
        Sub().requires()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (int, "wanted a class of tasks, found <class 'int'>$"),
        ("Fetch", "wanted a class of tasks, found 'Fetch'$"),
        (Fetch(), r"wanted a class of tasks, found Fetch\(.*\); give its class, then its parameters$"),
    ],
    ids=["class", "text", "task"],
)
def test_a_requirement_of_what_is_no_task_class_is_refused(wrong, match):
    with pytest.raises(TypeError, match=match):
        Requirement(wrong)


def test_a_parameter_that_the_required_task_does_not_have_is_named():
    class Typo(luigi.Task):
        raw = Requirement(Fetch, dya=1)

    with pytest.raises(TypeError, match=r"Typo\.raw: Fetch has no parameter 'dya'; it has day, name"):
        _ = Typo().raw


def test_a_parameter_that_nobody_gives_is_named():
    class Needs(luigi.Task):
        size = luigi.IntParameter()

    class Holder(luigi.Task):
        other = Requirement(Needs)

    with pytest.raises(MissingParameterException, match=r"Holder\.other: Needs.*'size'.*give it, or let both"):
        _ = Holder().other


def test_a_requirement_named_like_a_parameter_of_the_required_task_is_explained():
    class Model(luigi.ExternalTask):
        model = luigi.Parameter()

    class Holder(luigi.Task):
        model = Requirement(Model)

    with pytest.raises(
        TypeError, match=r"Holder\.model: Model has a parameter 'model', which is a requirement of Holder"
    ):
        _ = Holder().model

    class Given(luigi.Task):
        model = Requirement(Model, model="mosaic")

    assert Given().model.model == "mosaic"


def test_luigi_runs_what_is_required_and_hands_over_its_output(tmp_path):
    class Write(luigi.Task):
        folder = luigi.Parameter()
        output = TargetOutput("{task.folder}/{task.__class__.__name__}")

        def run(self):
            with self.output().open("w") as file:
                file.write("some words")

    class Count(luigi.Task):
        folder = luigi.Parameter()
        requires = Requires()
        words = Requirement(Write)
        output = TargetOutput("{folder}/{task.__class__.__name__}", ext=".count")

        def run(self):
            with self.input()["words"].open() as source, self.output().open("w") as file:
                file.write(str(len(source.read().split())))

    assert luigi.build([Count(folder=str(tmp_path))], local_scheduler=True, log_level="ERROR")
    assert (tmp_path / "Count.count").read_text() == "2"
    assert sorted(os.listdir(tmp_path)) == ["Count.count", "Write.txt"]


def test_luigis_decorators_work_beside_ours():
    @luigi.util.inherits(Fetch)
    class Inherits(luigi.Task):
        requires = Requires()
        raw = Requirement(Fetch)

    task = Inherits(name="x")
    assert task.requires() == {"raw": Fetch(name="x")}
    assert task.clone_parent() == Fetch(name="x")

    @luigi.util.requires(Fetch)
    class Decorated(luigi.Task):
        other = Requirement(Clean)

    assert Decorated(name="x").requires() == Fetch(name="x")  # the decorator's word, as with any other `requires`
    assert Decorated().other == Clean(day=Fetch().day)

    class Ours(Decorated):
        requires = Requires()

    assert Ours().requires() == {"other": Ours().other}


def test_a_task_with_descriptors_can_be_pickled():
    task = Clean()
    assert pickle.loads(pickle.dumps(task)).requires() == task.requires()


# --- TargetOutput


class Styled(luigi.Task):
    day = luigi.DateParameter(default=datetime.date(2020, 2, 29))
    name = luigi.Parameter(default="cat")
    size = luigi.IntParameter(default=7)
    output = TargetOutput()
    suffix = ".left"


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{task.__class__.__name__}", "Styled.txt"),
        ("out/{task.name}-{task.day}", "out/cat-2020-02-29.txt"),
        ("{name}-{day:%Y}/{size:03d}", "cat-2020/007.txt"),
        ("{name!r}", "'cat'.txt"),
        ("{name}{self.ext}.gz", "cat.txt.gz"),
        ("{name}{ext}", "cat.txt"),
        ("{name}{task.suffix}", "cat.left.txt"),
        ("{{{name}}}", "{cat}.txt"),
        ("plain", "plain.txt"),
    ],
)
def test_a_pattern_is_filled_in(pattern, path):
    assert TargetOutput(pattern)(Styled()).path == path


def test_an_output_is_a_suffix_preserving_target_by_default():
    assert type(Styled().output()) is SuffixPreservingLocalTarget
    assert Styled().output().path == "Styled.txt"


def test_target_class_and_its_arguments_can_be_chosen():
    class InS3(luigi.Task):
        output = TargetOutput(
            "s3://bucket/{task.__class__.__name__}", ext="", target_class=ExactKeyS3Target, format=luigi.format.UTF8
        )

    assert type(InS3().output()) is ExactKeyS3Target
    assert (InS3().output().path, InS3().output().format) == ("s3://bucket/InS3", luigi.format.UTF8)


@pytest.mark.parametrize("field", ["dya", "task.dya", "task.day.hour", "0", "", "task.__class__.nothing"])
def test_an_unknown_name_in_a_pattern_tells_the_names_there_are(field):
    pattern = f"{{{field}}}.x"
    wanted = (
        f"Styled.output: the pattern {pattern!r} names {field!r}, which this task does not have; its parameters are"
    )
    with pytest.raises(ValueError, match=re.escape(wanted) + " day, name, size, and there are task, salt and ext"):
        TargetOutput(pattern)(Styled())


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/etc/passwd", "a\0b"])
@pytest.mark.parametrize("pattern", ["data/{name}/x", "{name}", "data/{task.name}", "{name}-{salt}"])
def test_a_value_that_leaves_its_folder_is_refused(name, pattern):
    if name in ("..", "../x") and pattern == "{name}-{salt}":
        name = "../../x"
    with pytest.raises(
        ValueError, match=r"Styled\.output: wanted a name for \{(task\.)?name\}, found .*stay in its folder"
    ):
        TargetOutput(pattern, ext="")(Styled(name=name))


def test_two_values_cannot_leave_a_folder_together():
    with pytest.raises(ValueError, match="must stay in its folder"):
        TargetOutput("a/{name}{task.name}/x")(Styled(name="."))


def test_a_root_at_the_beginning_may_be_anywhere():
    assert TargetOutput("{name}/x")(Styled(name="/data/../other")).path == "/data/../other/x.txt"
    assert TargetOutput("../{name}")(Styled(name="a/b..c")).path == "../a/b..c.txt"
    assert TargetOutput("{name}/x")(Styled(name="s3://bucket")).path == "s3://bucket/x.txt"


@pytest.mark.parametrize("pattern", ["{name}-{salt}", "{name}-{task.salt}"])
def test_a_salt_is_the_beginning_of_the_salted_version(pattern):
    assert TargetOutput(pattern)(Styled()).path == f"cat-{salted_version(Styled())[:16]}.txt"
    assert TargetOutput("{salt:.6}")(Styled()).path == f"{salted_version(Styled())[:6]}.txt"


def test_a_tasks_own_salt_is_its_own():
    class Own(Styled):
        salt = "mine"

    assert TargetOutput("{task.salt}")(Own()).path == "mine.txt"


def test_names_without_a_salt_ask_nothing_of_the_lineage(monkeypatch):
    class Asked(Styled):
        def requires(self):
            pytest.fail("nobody needs to know")

    assert Asked().output().path == "Asked.txt"


TYPED = """
from collections.abc import Callable
from typing import assert_type
import luigi
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.luigi.task import Requirement, Requires, TargetOutput

class Up(luigi.Task):
    output = TargetOutput("{salt}", ext=".jpg", format=None)

class Down(luigi.Task):
    requires = Requires()
    up = Requirement(Up)
    output = TargetOutput(target_class=ExactKeyS3Target)

assert_type(Down().up, Up)
assert_type(Down.up, Requirement[Up])
assert_type(Down().requires(), dict[str, luigi.Task])
assert_type(Down().output(), ExactKeyS3Target)
assert_type(Up().output(), SuffixPreservingLocalTarget)
wrong = Requirement(int)
"""


@pytest.mark.slow
def test_a_type_checker_knows_what_each_attribute_is(tmp_path):
    (tmp_path / "typed.py").write_text(TYPED)
    options = ["--strict", "--allow-untyped-calls", "--follow-imports=silent", f"--cache-dir={tmp_path}/cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(tmp_path / "typed.py")],
        capture_output=True,
        text=True,
        cwd=REPO,
        check=False,
        env=os.environ | {"MYPYPATH": str(REPO)},
    )
    assert re.findall(r"error: (.*)", done.stdout) == [
        'Value of type variable "TaskT" of "Requirement" cannot be "int"  [type-var]'
    ], done.stdout + done.stderr
    assert Path(tmp_path, "cache").is_dir()
