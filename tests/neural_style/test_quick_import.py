"""The garbage collector rests while a library is imported, and goes on as it was."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import types

import pytest

from neural_style.quick_import import garbage_kept, give_late, start_is_over, without


def test_the_collector_rests_and_goes_on():
    with garbage_kept():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_a_failed_import():
    with pytest.raises(ModuleNotFoundError, match="torch"), garbage_kept():
        raise ModuleNotFoundError("No module named 'torch'")
    assert gc.isenabled()


def test_an_interrupt_is_one_though_a_library_made_something_else_of_it():
    """As pybind11 does, where it comes while the library's native part is set up."""
    with pytest.raises(KeyboardInterrupt, match="stop"), garbage_kept():
        raise ImportError("initialization failed") from KeyboardInterrupt("stop")
    assert gc.isenabled()


def test_where_it_runs_already_a_start_changes_nothing():
    num_frozen = gc.get_freeze_count()
    start_is_over()
    assert gc.isenabled()
    assert gc.get_freeze_count() == num_frozen


def test_behind_a_start_it_runs_and_leaves_out_what_is_there():
    program = "import gc; from neural_style.quick_import import start_is_over; gc.disable(); start_is_over(); "
    program += "assert gc.isenabled() and gc.get_freeze_count() > 1000"
    subprocess.run([sys.executable, "-c", program], check=True)


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


def test_a_module_that_is_not_wanted_is_missing_for_a_while(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv
    with without("colorsys"):  # somebody has it already: it is left alone
        assert importlib.import_module("colorsys").rgb_to_hsv


def test_what_was_left_out_comes_when_it_is_asked_for(monkeypatch):
    package = types.ModuleType("package")
    give_late(package, "rgb_to_hsv", source="colorsys")
    assert package.rgb_to_hsv(1, 0, 0) == (0, 1, 1)
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'other'"):
        _ = package.other


@pytest.mark.slow
def test_openvino_converts_models_of_others_as_ever():
    program = (
        "import neural_style.engines.openvino_engine, sys; assert 'openvino.tools.ovc' not in sys.modules\n"
        "import openvino; print(openvino.convert_model.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("openvino.tools.ovc")
