"""A plan put into files that people wrote: what is kept in step changes, every other byte stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from csci_utils.deps.errors import TravisError
from csci_utils.deps.travis_edit import KEYS, MARK, differences, merge, ownership
from csci_utils.deps.travis_plan import ON_MASTER, Plan
from csci_utils.deps.travis_yaml import parse

PLAN = Plan(
    pythons=("3.9", "3.10"),
    values={
        "language": "python",
        "python": ["3.9", "3.10"],
        "cache": {"directories": ["$HOME/.cache/pip", "$HOME/.cache/pipenv"]},
        "install": ["pip install pipenv", "pipenv install --deploy --dev"],
        "script": ["pipenv run pytest"],
        "stages": ["test", {"name": "deploy", "if": ON_MASTER}],
    },
    firsts={"dist": "jammy", "jobs": {"include": [{"stage": "deploy", "python": "3.9", "script": "skip"}]}},
)
WHOLE = merge(parse("", Path("x")), PLAN)


def merged(text):
    return merge(parse(text, Path("here.yml")), PLAN)


def wrong(text):
    return [each.key for each in differences(parse(text, Path("x")), PLAN)]


def owning(*keys):
    return f"{MARK} {', '.join(keys)}\n"


def load(text):
    return YAML(typ="safe", pure=True).load(text)


def test_a_new_file_holds_the_plan_and_says_what_is_kept_in_step():
    assert WHOLE.startswith(f"{MARK} language, python, cache, stages, install, script, deploy\n# (the rest is yours;")
    assert load(WHOLE) == {**PLAN.values, **PLAN.firsts}
    assert 'python:\n  - "3.9"\n  - "3.10"\n' in WHOLE
    assert WHOLE.endswith("script: skip\n")
    assert wrong(WHOLE) == []
    assert merged(WHOLE) is not None
    assert merged(WHOLE) == WHOLE


def test_a_version_is_changed_and_nothing_else():
    old = owning("python") + (
        "# of the course\nlanguage:   python # three spaces\n\n\npython:   # tested\n"
        "    # the oldest\n    - '3.8'   # for now\n    # the newest\n    - '3.10' # stays\n# of env\n"
        "env:\n- A=1\n-   B=2\n# the end"
    )
    assert merged(old) == old.replace("    - '3.8'   # for now\n", '    - "3.9"\n').replace(
        '    # the oldest\n    - "3.9"\n', '    - "3.9"\n    # the oldest\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("python: 3.8\n", 'python:\n  - "3.9"\n  - "3.10"\n'),
        ("python: '3.8' # old\n", 'python: # old\n  - "3.9"\n  - "3.10"\n'),
        ("python: [3.8, 3.9] # old\n", 'python: # old\n  - "3.9"\n  - "3.10"\n'),
        ("python: [3.8,\n  # why\n  3.9]\n", 'python:\n  # why\n  - "3.9"\n  - "3.10"\n'),
        ("python:\n- 3.9\n- 3.10\n", 'python:\n- 3.9\n- "3.10"\n'),
        ("python:\n  - '3.10'\n\n  - '3.9'\n", "python:\n\n  - '3.9'\n  - '3.10'\n"),
        ("python:\n  # one\n  - 3.9\n  # two\n  - 3.9\n", 'python:\n  # one\n  - 3.9\n  - "3.10"\n  # two\n'),
        ("python:\n  - 3.9\n  - 3.9\n", 'python:\n  - 3.9\n  - "3.10"\n'),
        ("python:\n", 'python:\n  - "3.9"\n  - "3.10"\n'),
        ("python: ~\n", 'python:\n  - "3.9"\n  - "3.10"\n'),
        ("python: !!str 3.8\n", 'python:\n  - "3.9"\n  - "3.10"\n'),
        ("'python' : 3.8\n", '\'python\' :\n  - "3.9"\n  - "3.10"\n'),
    ],
)
def test_versions_are_replaced_however_they_were_written(before, after):
    mark = owning("python")
    for around in ("", "# below\nnext: 1  # it\n", "\n\n# far below\n"):
        assert merged(f"{mark}first: x\n{before}{around}") == f"{mark}first: x\n{after}{around}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("script: |\n  # not a comment\n  make\n", "script:\n  - pipenv run pytest\n"),
        ("script: >-  # folded\n  make\n  # no comment\n\n", "script:  # folded\n  - pipenv run pytest\n\n"),
        ('script: "a\n  # no comment\n  b"\n', "script:\n  - pipenv run pytest\n"),
        ("script:\n  - |\n    # no comment\n    - pytest\n  # a comment\n  - x\n",
         "script:\n  - pipenv run pytest\n  # a comment\n"),
        ("script:\n  - pipenv run pytest\n  - >\n    more\n\n    # lines\n", "script:\n  - pipenv run pytest\n"),
        ("script: {a: b}\n", "script:\n  - pipenv run pytest\n"),
        ("script:\n  # all\n  a: b\n", "script:\n  # all\n  - pipenv run pytest\n"),
    ],
    ids=["literal", "folded", "quoted", "literal-item", "folded-item", "flow", "mapping"],
)  # fmt: skip
def test_what_looks_like_a_comment_within_a_text_is_none(before, after):
    mark = owning("script")
    assert merged(f"{mark}{before}# below\nnext: 1\n") == f"{mark}{after}# below\nnext: 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "script: pipenv run pytest\n",
        "script:\n- 'pipenv run pytest'\n",
        "cache:\n  directories: ['$HOME/.cache/pipenv', $HOME/.cache/pip]\n",
        f"stages: [test, {{if: {ON_MASTER}, name: deploy}}]\n",
        f"stages:\n  - {{name: test}}\n  - name: deploy\n    if: {ON_MASTER}\n",
        "python: [3.9, '3.10']\n",
        "language: 'python'\n",
    ],
)
def test_what_means_the_same_is_in_step_and_stays(text):
    text = owning(text.partition(":")[0]) + text
    assert wrong(text) == []
    assert merged(text) == text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("cache: pip\n", "cache"),
        ("cache:\n  directories: [$HOME/.cache/pip]\n", "cache"),
        ("cache: {directories: [$HOME/.cache/pip, $HOME/.cache/pipenv], npm: true}\n", "cache"),
        ("stages: [test, deploy]\n", "stages"),
        ("language: ruby\n", "language"),
        ("python: [3.9, 3.10]\n", "python"),  # as a number it is 3.1
        ("install: []\n", "install"),
        ("other: 1\n", "script"),
        ("jobs: {include: []}\n", "deploy"),
    ],
)
def test_what_means_something_else_is_named(text, key):
    assert wrong(owning(key) + text) == [key]
    assert wrong(owning() + text) == []


def test_what_differs_is_said_without_its_secrets():
    text = owning("install", "cache") + (
        "install:\n- pip install --extra-index-url https://bob:secret@host.invalid/x y\n"
        "cache: {directories: ['https://secret@host.invalid/x']}\n"
    )
    differing = differences(parse(text, Path("x")), PLAN)
    assert [each.key for each in differing] == ["cache", "install"]
    assert "secret" not in str(differing)
    assert "found pip install --extra-index-url https://***@host.invalid/x y" in differing[1].sentence


def test_crlf_and_a_byte_order_mark_stay():
    old = f"\ufeff{owning('python')}a: 1\npython: 3.8\n# é\nb: 2\n".replace("\n", "\r\n")
    assert merged(old) == old.replace("python: 3.8\r\n", 'python:\r\n  - "3.9"\r\n  - "3.10"\r\n')


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\n...\n", "\n# end", "\n# end\n"])
def test_the_end_of_a_file_stays(end):
    old = f"{owning('python', 'script')}python: ['3.9', '3.10']{end}"
    comment = end.rstrip() if end.strip().startswith("#") else ""
    lines = f"{comment}\n\nscript:\n  - pipenv run pytest"
    assert merged(old) == old.removesuffix(end) + lines + end.removeprefix(comment)


def test_anchors_stay_and_what_points_to_them_follows():
    job = "jobs:\n  include:\n    - stage: x\n      install: *how\n"
    old = f"{owning('install')}install: &how  # this way\n  - pip install pipenv\n  - old # a\n{job}"
    lines = "install: &how  # this way\n  - pip install pipenv\n  - pipenv install --deploy --dev\n"
    assert merged(old) == owning("install") + lines + job


def test_what_is_pointed_to_is_written_out_where_it_differs():
    old = f"{owning('script')}x: &x [a]\nscript: *x  # as x\ny: *x\n"
    assert merged(old) == f"{owning('script')}x: &x [a]\nscript:  # as x\n  - pipenv run pytest\ny: *x\n"


def test_merge_keys_stay():
    base = "x: &base\n  python: 3.8\n  env: A=1\n<<: *base\n"
    assert merged(owning("python") + base) == owning("python") + base + '\npython:\n  - "3.9"\n  - "3.10"\n'
    within = "x: &base {a: 1}\npython: 3.8\n<<: *base\n# c\nb: 2\n"
    assert merged(owning("python") + within) == owning("python") + within.replace(
        "python: 3.8\n", 'python:\n  - "3.9"\n  - "3.10"\n'
    )


def test_a_file_that_says_nothing_keeps_what_its_owner_wrote():
    old = "# mine\nlanguage: python\npython: 3.8\nscript: ./mine.sh\njobs:\n  include:\n    - stage: lint\n"
    assert wrong(old) == ["mark", "python", "cache", "install"]
    new = merged(old)
    assert new.startswith(f"{MARK} language, python, cache, install\n# (the rest is yours;")
    assert (
        '# mine\nlanguage: python\npython:\n  - "3.9"\n  - "3.10"\nscript: ./mine.sh\njobs:\n  include:\n    - s' in new
    )
    assert load(new)["jobs"] == load(old)["jobs"]
    assert "stages" not in load(new)
    assert wrong(new) == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("language: generic\npython: 3.8\n", ("cache", "stages", "install", "script", "deploy")),
        ("python: 3.8\ndeploy: {provider: x}\n", ("language", "python", "cache", "install", "script")),
        ("language: generic\n", ("cache", "stages", "install", "script", "deploy")),
        ("matrix: []\n", ("language", "python", "cache", "install", "script")),
        ("stages: [a]\n", ("language", "python", "cache", "install", "script", "deploy")),
        ("", KEYS),
        (f"{MARK} script  python,,what\n", ("python", "script")),
        (f"{MARK}\n", ()),
    ],
)
def test_what_is_kept_in_step(text, keys):
    assert ownership(parse(text, Path("x"))).keys == keys


def test_words_that_are_no_keys_are_told():
    assert ownership(parse(f"{MARK} python, env\n", Path("x"))).strange == ("env",)


JOBS = (
    "jobs:\n  include:\n    - stage: lint\n      python: '2.7'\n"
    "    - name: x\n      stage: Deploy\n      {}script: ./go\n"
)


@pytest.mark.parametrize(
    ("python", "after"),
    [
        ("python: '3.8' # old\n      ", 'python: "3.9" # old\n      '),
        ("python: 3.10\n      ", 'python: "3.9"\n      '),
        ('python: "3.10"\n      ', None),
        ("", None),
        ("python: [3.9, '3.10']\n      ", None),
    ],
)
def test_the_job_of_the_stage_deploy_runs_on_a_python_that_is_tested(python, after):
    old = owning("deploy") + JOBS.format(python)
    assert wrong(old) == ([] if after is None else ["deploy"])
    assert merged(old) == owning("deploy") + JOBS.format(python if after is None else after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("jobs:\n  - stage: deploy\n    python: 3.8\n", 'jobs:\n  - stage: deploy\n    python: "3.9"\n'),
        ("matrix:\n  include:\n    stage: deploy\n    python: [3.8]\n",
         'matrix:\n  include:\n    stage: deploy\n    python: "3.9"\n'),
        ("jobs: {include: [{stage: deploy, python: 3.8}]}\n", 'jobs: {include: [{stage: deploy, python: "3.9"}]}\n'),
        ("x: &x {python: 3.8}\njobs:\n  - <<: *x\n    stage: deploy\n",
         'x: &x {python: 3.8}\njobs:\n  - <<: *x\n    stage: deploy\n    python: "3.9"\n'),
    ],
    ids=["list", "single", "flow", "merge"],
)  # fmt: skip
def test_the_job_is_found_however_it_was_written(before, after):
    assert merged(owning("deploy") + before) == owning("deploy") + after


@pytest.mark.parametrize(
    "text",
    [
        "jobs:\n  include:\n    - stage: lint\n",  # none of the stage deploy: its lines only its owner knows
        "jobs:\n  - stage: deploy\n    python: [2.7,\n      2.8]\n",
        "x: &x\n  stage: deploy\n  python: 3.8\njobs:\n  - *x\n",
        "x: &x 3.8\njobs:\n  - stage: deploy\n    python: *x\n",
        "jobs:\n  - &x\n    stage: deploy\n    python: 3.8\n  - <<: *x\n    stage: lint\n",
    ],
)
def test_what_cannot_be_written_in_one_place_is_left_to_its_owner(text):
    with pytest.raises(TravisError, match="wanted to write (script, )?deploy and change nothing else"):
        merged(owning("deploy", "script") + text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a:\n\t- b\n", r"here.yml:2: wanted YAML, found this: found character '\\t' that cannot start any"),
        ("a: [1\nb: 2\n", "here.yml:2: wanted YAML, found this: "),
        ("a: 1\na: 2\n", 'here.yml:2: wanted YAML, found this: found duplicate key "a"'),
        ("a: *b\n", "here.yml:1: wanted YAML, found this: found undefined alias 'b'"),
        ("a: !x 1\n", "here.yml:1: wanted YAML, found this: could not determine a constructor for the tag '!x'"),
        ("a: 1\n---\nb: 2\n", "here.yml:.*: wanted YAML, found this: "),
        ('a: "\x01"\n', "here.yml: wanted YAML, found this: "),
        ("- a\n- b\n", "here.yml: wanted keys and values, found a list; name another file with --out"),
        ("word\n", "here.yml: wanted keys and values, found only 'word'"),
        ("null\n", "here.yml: wanted keys and values, found only 'None'"),
        ("{\na: 1\n}\n", "wanted each key on a line of its own at the left margin"),
        ("{a: 1}\n", "wanted each key on a line of its own at the left margin"),
        ("  a: 1\n  b: 2\n", "wanted each key on a line of its own at the left margin"),
        ("? [a]\n: b\n", "here.yml: wanted"),
        ("a: 1\rb: 2\r", "here.yml: wanted one kind of line ends"),
        ("a: 1\r\nb: 2\n", "here.yml: wanted one kind of line ends"),
        ("a: [" * 5000, "here.yml.*: wanted YAML"),
        ("a: 2001-99-99\n", "here.yml: wanted YAML"),
    ],
    ids=["tab", "open", "twice", "alias", "tag", "two", "control", "list", "word", "null", "flow", "flow-lines",
         "indented", "complex", "cr", "mixed", "deep", "date"],
)  # fmt: skip
def test_what_is_no_such_file_is_one_sentence(text, sentence):
    with pytest.raises(TravisError, match=sentence) as caught:
        merged(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "# only this\n", "---\n", "\ufeff", "# this\r\n"])
def test_a_file_without_keys_becomes_one_with_them(text):
    new = merged(text)
    assert load(new.removeprefix("\ufeff")) == load(WHOLE)
    assert "# only this" in new or "# only this" not in text
    assert ("\r\n" in new) == ("\r\n" in text)
    assert merged(new) == new


KEPT = [(key,) for key in KEYS] + [tuple(each for each in KEYS if each != key) for key in KEYS] + [KEYS]


@pytest.mark.parametrize("keys", KEPT, ids=" ".join)
def test_what_is_written_once_is_in_step_whatever_is_kept(keys):
    """Each key alone, all but each, and all, in a file that has every one of them wrong."""
    odd = "language: go\npython: 2.7\ncache: pip # c\nstages: [x]\ninstall: |\n  # a\n  b\nscript:\n- a\n- b # c\n"
    old = owning(*keys) + odd
    new = merged(old)
    assert merged(new) == new
    before, after = load(old), load(new)
    kept = {key: value for key, value in before.items() if key not in keys}
    assert {key: after[key] for key in kept} == kept
    assert after.keys() - before.keys() == ({"jobs"} if "deploy" in keys else set())
    assert wrong(new) == []
