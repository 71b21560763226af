"""Style a picture file into another, and tell how long that took and how much memory of its own.

`python -m bench.bands_program {ours,eager} --picture F --weights F --output F [--memory-bytes N] [--engine E]
[--cache FOLDER]`.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.stopwatch import told

_EVERY_S = 0.005


def main() -> None:
    """Load the model, then style while the watch runs and memory is looked at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who", choices=("ours", "eager"))
    for name in ("picture", "weights", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    style = {"ours": ours, "eager": eager}[options.who](options)
    with told() as seen, own_memory_watched(seen):
        seen |= style()


@contextmanager
def own_memory_watched(seen: dict[str, Any]) -> Iterator[None]:
    """Add what the process had of its own before the block (``own_idle_bytes``) and its most in it, by looking often.

    Own is what lies in no file: the system can take pages of files away at any time, and those of libraries are shared.
    """
    most = seen["own_idle_bytes"] = own_bytes()
    done = threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(_EVERY_S):
            most = max(most, own_bytes())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    seen["own_peak_bytes"] = max(most, own_bytes())


def own_bytes() -> int:
    """Return the resident memory of this process that belongs to no file (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return sum(
        1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon:", "RssShmem:"))
    )


def ours(options: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Return what styles by a `Stylizer`, ready."""
    from neural_style.stylize import Stylizer

    stylizer = Stylizer(
        options.weights, device="cpu", engine=options.engine, memory_bytes=options.memory_bytes, cache=options.cache
    )
    return lambda: {"made_by": stylizer.style_file(options.picture, options.output).made_by}


def eager(options: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """Return what styles as the published script does, but rounds to the nearest number, as ours does."""
    import numpy as np
    import torch
    from PIL import Image

    from bench.published_script import styled

    state = torch.load(options.weights, map_location="cpu", weights_only=True)

    def style() -> dict[str, Any]:
        scene = np.asarray(Image.open(options.picture).convert("RGB"))
        x = torch.from_numpy(scene.transpose(2, 0, 1)[None].astype(np.float32))
        start = time.perf_counter()
        with torch.no_grad():
            made = styled(x, state)[0]
        net_s = time.perf_counter() - start
        pixels = made[:, : scene.shape[0], : scene.shape[1]].clamp(0, 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(options.output)
        return {"net_s": net_s}

    return style


if __name__ == "__main__":
    main()
