"""The garbage collector rests while a library is imported, and goes on as it was."""

from __future__ import annotations

import gc
import os

import pytest

from neural_style.quick_import import garbage_kept


def test_the_collector_rests_and_goes_on():
    with garbage_kept():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_a_failed_import():
    with pytest.raises(ModuleNotFoundError, match="torch"), garbage_kept():
        raise ModuleNotFoundError("No module named 'torch'")
    assert gc.isenabled()


def test_one_that_rested_rests():
    gc.disable()
    try:
        with garbage_kept():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("torch_engine", {"engine": "torch"}),
        ("plain_net", {"engine": "openvino"}),
        ("devices", {"device": "tpu"}),
    ],
    ids=["engine", "conversion", "devices"],
)
def test_torch_is_imported_so(monkeypatch, tmp_path, module, options):
    import builtins

    from neural_style import engines
    from neural_style.errors import NeuralStyleError

    seen = []
    plain = builtins.__import__

    def watching(name, *arguments, **named):
        if name == module:
            seen.append(gc.isenabled())
        return plain(name, *arguments, **named)

    (tmp_path / "none.pth").write_bytes(b"no weights")
    monkeypatch.setattr(builtins, "__import__", watching)
    with pytest.raises(NeuralStyleError):
        engines.open_engine(tmp_path / "none.pth", **{"device": "cpu", **options})
    assert seen == [False]


def test_threads_do_not_wait_awake_for_long_unless_they_were_told_to(monkeypatch):
    for told, seen in ((None, "10000"), ("7", "7")):
        monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
        if told is not None:
            monkeypatch.setenv("GOMP_SPINCOUNT", told)
        with garbage_kept():
            assert os.environ["GOMP_SPINCOUNT"] == seen
