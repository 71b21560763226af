"""What the measuring machine is: a number means nothing without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
"""Of a processor, what decides how fast a convolution can be."""

LIBRARIES = ("torch", "openvino", "onnxruntime", "numpy", "pillow", "pyvips")

_CPUINFO = Path("/proc/cpuinfo")


def described() -> list[str]:
    """Describe processor, memory, system and the libraries that were measured."""
    return [
        f"{processor()}, {os.cpu_count()} cores, {', '.join(flags(_cpuinfo())) or 'no vector extensions known'}",
        f"{memory_bytes() / 2**30:.0f} GiB of memory, {platform.system()} {platform.release()}, "
        f"{' '.join(platform.libc_ver()).strip() or 'no glibc'}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    ]


def processor() -> str:
    """Name the processor, with what tells its generation where the name does not."""
    about = _cpuinfo()
    name = _value(about, "model name") or platform.processor() or platform.machine()
    family, model = _value(about, "cpu family"), _value(about, "model")
    return f"{name} (family {family}, model {model})" if family and model else name


def flags(cpuinfo: str) -> list[str]:
    """Return those of `FLAGS` that a ``/proc/cpuinfo`` names."""
    found = set((_value(cpuinfo, "flags") or _value(cpuinfo, "Features") or "").split())
    return [flag for flag in FLAGS if flag in found]


def memory_bytes() -> int:
    """Return how much memory there is."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def version(name: str) -> str:
    """Return the version of an installed library."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def load() -> str:
    """Say how busy the machine is, others' work included: what waits for a core makes every number worse."""
    return "load average {:.1f} (1 minute), {:.1f} (15 minutes)".format(*(os.getloadavg()[n] for n in (0, 2)))


def _cpuinfo() -> str:
    return _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.exists() else ""


def _value(cpuinfo: str, key: str) -> str:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")
