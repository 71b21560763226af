"""What is freed in the block is used again, and all is as before after it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neural_style import allocator
from neural_style.allocator import memory_kept
from neural_style.errors import PictureNotFoundError
from neural_style.train_config import TrainConfig

LARGE_BYTES = 64_000_000
PAGE_BYTES = 4096


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)


def pages_of_a_large_array() -> int:
    """How many pages the system had to give for one more array, which is freed again; it gives large ones too."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(LARGE_BYTES, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.slow
@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc")
def test_memory_is_used_again_in_the_block_and_given_back_after_it():
    with memory_kept():
        pages_of_a_large_array()
        again = pages_of_a_large_array()
        kept_bytes = resident_bytes()
    assert again < 10
    assert kept_bytes - resident_bytes() > LARGE_BYTES / 2


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.parametrize("fault", [None, KeyboardInterrupt("stop")], ids=["end", "ctrl-c"])
def test_settings_are_put_back_however_the_block_ends(monkeypatch, fault):
    asked = []

    class Library:
        gnu_get_libc_version = None
        mallopt = staticmethod(lambda *setting: asked.append(setting))
        malloc_trim = staticmethod(lambda rest: asked.append(("trim", rest)))

    monkeypatch.setattr("ctypes.CDLL", lambda _name: Library)
    try:
        with memory_kept():
            assert asked == [(-4, 0), (-1, 2**31 - 1)]
            if fault:
                raise fault
    except KeyboardInterrupt:
        assert fault
    assert asked[2:] == [(-4, 65536), (-1, 131072), ("trim", 0)]


def test_training_keeps_its_memory(monkeypatch, tmp_path):
    from neural_style import train_style

    entered = []
    monkeypatch.setattr(allocator, "_glibc", lambda: entered.append(os.environ["THP_MEM_ALLOC_ENABLE"]))
    with pytest.raises(PictureNotFoundError, match="painting.png"):
        train_style.train_style(
            TrainConfig(), style=tmp_path / "painting.png", dataset=tmp_path, output=tmp_path / "style.pth"
        )
    assert entered == ["1"]


@pytest.mark.parametrize("library", [object(), OSError("no such library")], ids=["another", "none"])
def test_without_glibc_the_block_runs_as_it_is(monkeypatch, library):
    def opened(_name: object) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr("ctypes.CDLL", opened)
    ran = []
    with memory_kept():
        ran.append(True)
    assert ran


def test_what_the_user_set_for_large_pages_stays(monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    with memory_kept():
        assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


@pytest.mark.slow
def test_torchs_large_tensors_lie_on_large_pages_where_the_system_has_them():
    if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        pytest.skip("this system has no large pages")
    code = (
        "from neural_style.allocator import memory_kept\nimport torch\n"
        "with memory_kept():\n    kept = torch.ones(50_000_000)\n"
        "    print([line for line in open('/proc/self/smaps_rollup') if 'AnonHugePages' in line][0].split()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000  # kilobytes
