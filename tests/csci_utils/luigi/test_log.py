from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from csci_utils.luigi.log import SentenceFilter

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[3]
COMMAND = """
import sys, luigi
from luigi.cmdline import luigi_run
from csci_utils.luigi.run import shorten_luigi_log

class Odd(luigi.Parameter):
    def parse(self, text):
        return 1 / 0

class Task(luigi.Task):
    max_side = luigi.OptionalIntParameter(default=None)
    quality = luigi.NumericalParameter(default=90, var_type=int, min_value=1, max_value=101)
    mode = luigi.ChoiceParameter(default="a", choices=["a", "b"])
    weight = luigi.FloatParameter(default=1.0)
    name = luigi.Parameter()
    odd = Odd(default=1)

shorten_luigi_log()
luigi_run(["Task", "--local-scheduler", *sys.argv[1:]])
"""


def called(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *options],
        cwd=REPO,
        env={**os.environ, "LUIGI_CONFIG_PATH": str(REPO / "luigi.cfg")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 40, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--name", "a", "--quality", "500"], "--quality: 500 is not in the set"),
        (["--name", "a", "--max-side", "abc"], "--max-side: wanted a whole number, found 'abc'; luigi's"),
        (["--name", "a", "--Task-max-side", "abc"], "--max-side: wanted a whole number, found 'abc'; luigi's"),
        (["--name", "a", "--weight", "abc"], "--weight: wanted a number, found 'abc'; luigi's"),
        (["--name", "a", "--mode", "x"], "--mode: x is not a valid choice from"),
    ],
    ids=["quality", "max-side", "of-the-class", "weight", "mode"],
)
def test_an_option_that_luigi_cannot_read_is_one_sentence(options, sentence):
    err = called(*options)
    assert "Traceback" not in err
    assert sentence in err
    assert "--help-all" in err
    assert len(err.strip().splitlines()) == 1


def test_an_option_that_is_missing_is_one_sentence():
    sentence = "--name is not given; give it, or name a luigi.cfg that does by LUIGI_CONFIG_PATH"
    err = called()
    assert err.strip().endswith(sentence)
    assert len(err.strip().splitlines()) == 1


def test_a_parameter_of_ours_that_is_wrong_keeps_its_traceback():
    err = called("--name", "a", "--odd", "x")
    assert "Traceback" in err
    assert "ZeroDivisionError" in err


def test_a_wrong_parameter_inside_a_task_is_a_defect():
    import luigi

    class Needs(luigi.Task):
        name = luigi.Parameter()

    with pytest.raises(luigi.parameter.MissingParameterException, match="name") as caught:
        Needs()
    record = logging.LogRecord("luigi-interface", 40, "", 0, "failed", (), caught._excinfo)
    assert SentenceFilter().filter(record)
    assert record.exc_info is not None
