"""The Python that README shows, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO
from tests.pipeline.conftest import encoded_picture, model_bytes

README = (REPO / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def run(word: str) -> dict[str, Any]:
    """Run the one snippet that has a word in it, and return what it defined."""
    (snippet,) = [each for each in SNIPPETS if word in each]
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(snippet, f"README.md: {word}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_each_snippet_is_run_here():
    assert len(SNIPPETS) == 2


@pytest.mark.slow
def test_a_picture_is_styled():
    Path("mosaic.pth").write_bytes(model_bytes())
    Path("in.jpg").write_bytes(encoded_picture("in.jpg"))
    run("Stylizer")
    assert Path("out.jpg").stat().st_size > 0


def test_a_plugin_of_ones_own_ends_a_run(capsys):
    trainer = run("Plugin")["trainer"]
    assert trainer.state.stopped
    assert 0 < trainer.state.step < 100 * 20
    assert list(Path("kept").glob("line.step-*.ckpt"))
    assert capsys.readouterr().out.startswith("a small loss after ")
