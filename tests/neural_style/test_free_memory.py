"""Free memory is the least of what the machine and its container leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neural_style import free_memory
from neural_style.free_memory import free_bytes, half_of_free


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 4 GiB to be had, in no container."""
    (tmp_path / "meminfo").write_text("MemTotal: 9999999 kB\nMemFree: 7 kB\nMemAvailable:    4194304 kB\n")
    monkeypatch.setattr(free_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)
    return tmp_path


def test_a_machine_says_what_can_be_had():
    assert free_bytes("cpu") == 2**32


def test_a_container_leaves_its_limit_and_what_is_kept_of_files(system):
    (system / "memory.max").write_text("3000\n")
    (system / "memory.current").write_text("2500\n")
    assert free_bytes("cpu") == 500
    (system / "memory.stat").write_text("anon 2000\nactive_file 1\ninactive_file 400\n")
    assert free_bytes("cpu") == 900
    (system / "memory.max").write_text("max\n")
    assert free_bytes("cpu") == 2**32


def test_a_system_that_does_not_say_is_unknown(system):
    (system / "meminfo").unlink()
    assert free_bytes("cpu") is None
    assert free_bytes("mps") is None


def test_a_gpu_says_it_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {"cuda:1": (5, 9)}[device])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: {"cuda:1": 4}[device])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: {"cuda:1": 1}[device])
    assert free_bytes("cuda:1") == 8  # with what torch keeps for its next tensors


def test_who_takes_memory_at_once_is_not_told_of_the_same_half():
    gib = 2**30
    with (
        half_of_free("cpu", 8 * gib, needed_bytes=3 * gib) as first,
        half_of_free("cuda:0", gib, needed_bytes=9) as gpu,
    ):
        with half_of_free("cpu", 8 * gib, needed_bytes=gib) as second:
            assert (first, second, gpu) == (4 * gib, 5 * gib // 2, gib // 2)
        with half_of_free(
            "cpu", 3 * gib, needed_bytes=gib
        ) as third:  # the first has taken all it needs, and more is gone
            assert third == gib // 4
    with half_of_free("cpu", 8 * gib, needed_bytes=gib) as last, half_of_free("cpu", None, needed_bytes=gib) as unknown:
        assert (last, unknown) == (4 * gib, None)
