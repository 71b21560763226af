from __future__ import annotations

import pytest

from bench import machine

CPUINFO = (
    "processor\t: 0\nmodel name\t: AMD EPYC\ncpu family\t: 26\nmodel\t\t: 2\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
)


def test_flags_that_matter_are_named_as_whole_words():
    assert machine.flags(CPUINFO) == ["avx2", "avx512f", "avx512_bf16"]
    assert machine.flags("flags : avx512_bf16x\n") == []
    assert machine.flags("Features\t: fp asimd bf16\n") == ["asimd", "bf16"]


def test_processor_is_told_with_its_generation(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert "family" not in machine.processor()
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    assert machine.processor() == "AMD EPYC (family 26, model 2)"


@pytest.mark.parametrize("wanted", ["cores", "GiB of memory", "Python 3.", "torch 2.", "openvino "])
def test_description_names(wanted):
    assert wanted in "\n".join(machine.described())


def test_library_that_is_not_there_is_said_to_be():
    assert machine.version("no-such-library") == "not installed"
