"""`tree` agrees with pipdeptree, run as a program: requirements, what is installed, what is not met.

Where the two differ on purpose:

- pipdeptree does not know the Pipfile, so extras that only the Pipfile asks for are not in its graph. Its graph is
  compared with ours of the same interpreter named by `--python`, where the Pipfile asks for nothing.
- What an extra brings and is not installed it leaves out; we say that it is missing, since pip would install it.
- It leaves out extras by their exact spelling (`Provides-Extra: Two_Two` against `b[two-two]`); we compare them in
  their normal form, as pip does. The environments here spell them in one way.
- For what is missing it tries to import a module of that name in its own process and takes its `__version__`; we say
  that it is missing. The names here are no modules.
- It knows a conflict where no version can be read from what is installed; we call that unknown. There is none here.
- It has no state: what it prints as `Possibly conflicting` is what we call conflict or missing.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile

import pytest

from csci_utils.deps.cli import exit_status
from csci_utils.deps.facts import normal_name
from tests.csci_utils.deps.making import make_dist, make_venv


def knots(site):
    """Conflicts, what is missing, extras through extras, markers, circles, other spellings."""
    make_dist(site, "app", "1.0", requires=["Web.Site[fast]>=2", "log<2,>=1", "gone-away>=1", "win; os_name == 'nt'"])
    make_dist(site, "web_site", "1.5", requires=["log!=1.1", "speed[more]; extra == 'fast'", "never; extra == 'slow'"],
              extras=["fast", "slow"])  # fmt: skip
    make_dist(site, "speed", "3.0rc1", requires=["web-site; extra == 'more'", "core>=1; extra == 'more'"],
              extras=["more"])  # fmt: skip
    make_dist(site, "log", "1.1", requires=["core==1.*"])
    make_dist(site, "core", "2.0", requires=["log", "speed>=3"])
    make_dist(site, "Selfish", "1.0", requires=["selfish>=2"])


def at_random(site):
    """A hundred distributions that require each other without rhyme or reason."""
    seed = random.Random(5)
    names = [f"n{seed.choice('-_.')}{number}" for number in range(100)]
    markers = ["", "", "; python_version >= '3.8'", "; sys_platform == 'win32'", "; extra == 'x'", "; extra == 'y'"]
    for name in names:
        chosen = seed.sample([*names, "not-there-1", "not-there-2"], seed.randint(0, 5))
        requires = [
            each.replace(".", "_").upper()
            + seed.choice(["", "", "[x]", "[x,y]"])
            + seed.choice(["", ">=1", "<3,>=2", "==1.*", "~=1.4", "!=2.0"])
            + seed.choice(markers)
            for each in chosen
            if each != name
        ]
        make_dist(site, name, seed.choice(["1.0", "1.5", "2.0", "2.1b1", "3.0"]), requires=requires, extras=["x", "y"])


@pytest.fixture(
    params=["knots", pytest.param("own", marks=pytest.mark.slow), pytest.param("random", marks=pytest.mark.slow)]
)
def python(request, tmp_path):
    """An interpreter of an environment."""
    if request.param == "own":
        return sys.executable
    {"knots": knots, "random": at_random}[request.param](make_venv(tmp_path / "env"))
    return str(tmp_path / "env" / "bin" / "python")


def by_pipdeptree(python):
    """What pipdeptree says: its graph, and what it warns of."""
    command = [sys.executable, "-m", "pipdeptree", "--python", python, "--warn", "suppress"]
    graph = json.loads(answer(*command, "--json").stdout)
    warned = answer(*command, "--depth", "0").stderr  # its text repeats every subtree
    nodes = {normal_name(each["package"]["key"]): each["package"]["installed_version"] for each in graph}
    edges = {
        (
            normal_name(each["package"]["key"]),
            normal_name(below["key"]),
            below["required_version"].replace("Any", ""),
            below["installed_version"].replace("?", "missing"),
        )
        for each in graph
        for below in each["dependencies"]
    }
    return nodes, edges, not_met(warned)


def answer(*command):
    """From a folder of nothing: pipdeptree finds metadata where it is started."""
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=empty)


def not_met(warned):
    """Who requires what that is not met, from the lines `* who==version` and ` - what [required: ..., ...]`."""
    found, who = set(), None
    conflicts = warned.partition("Possibly conflicting dependencies found")[2].partition("Cyclic")[0]
    for line in conflicts.splitlines():
        if match := re.match(r"\* (.+)==", line):
            who = normal_name(match[1])
        elif match := re.match(r" - (\S+) \[required: ([^ ]+), installed", line):
            found.add((who, normal_name(match[1]), match[2].replace("Any", "")))
    return found


def by_us(python, capsys, project):
    assert exit_status(["tree", "--json", "--python", python, "--project", str(project)]) == 0
    graph = json.loads(capsys.readouterr().out)
    nodes = {node["name"]: node["version"] for node in graph["nodes"] if not node["missing"]}
    known_there = [each for each in graph["edges"] if each["state"] != "missing" or not each["by_extras"]]
    edges = {(each["source"], each["target"], each["required"], each["installed"] or "missing") for each in known_there}
    wrong = {
        (each["source"], each["target"], each["required"])
        for each in known_there
        if each["state"] in ("conflict", "missing")
    }
    return nodes, edges, wrong


@pytest.mark.slow
def test_tree_agrees_with_pipdeptree(python, capsys, tmp_path):
    (tmp_path / "requirements.txt").write_text("")
    nodes, edges, wrong = by_us(python, capsys, tmp_path)
    theirs = by_pipdeptree(python)
    assert len(edges) > 8
    assert nodes == theirs[0]
    assert edges == theirs[1]
    assert wrong == theirs[2]


@pytest.mark.slow
def test_pipdeptree_warns_of_what_is_not_met_there(tmp_path):
    """The comparison above would pass if its warnings were read wrongly and nothing were wrong."""
    at_random(make_venv(tmp_path / "env"))
    assert len(by_pipdeptree(str(tmp_path / "env" / "bin" / "python"))[2]) > 30
