"""Style some pictures one after the other or side by side, and tell how long all of them took.

`python -m bench.styling_many_program --weights F --pictures F --threads N --side-by-side N [--count N] [--plain]`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.stopwatch import told

Picture = np.ndarray[Any, np.dtype[Any]]


def main() -> None:
    """Style a picture in each thread, then all of them while the watch runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, required=True, help="of the CPU, for one picture")
    parser.add_argument("--side-by-side", type=int, required=True, help="pictures at once")
    parser.add_argument("--count", type=int, help="pictures, the same ones again and again; all of them once")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--plain", action="store_true", help="plain eager torch")
    options = parser.parse_args()
    style, about = _plain(options) if options.plain else _ours(options)
    different = list(np.load(options.pictures))
    scenes = list(itertools.islice(itertools.cycle(different), options.count or len(different)))
    with ThreadPoolExecutor(options.side_by_side) as pool:
        list(pool.map(style, scenes[: options.side_by_side]))
        with told() as seen:
            list(pool.map(style, scenes))
            seen |= {"num_pictures": len(scenes), **about}


def _ours(options: argparse.Namespace) -> tuple[Callable[[Picture], object], dict[str, Any]]:
    from neural_style.stylize import Stylizer

    stylizer = Stylizer(
        options.weights,
        device="cpu",
        threads=options.threads,
        precision=options.precision,
        cache=options.cache,
    )
    return stylizer.style, stylizer.description()


def _plain(options: argparse.Namespace) -> tuple[Callable[[Picture], object], dict[str, Any]]:
    import torch

    from bench.published_script import styled

    torch.set_num_threads(options.threads)
    state = torch.load(options.weights, map_location="cpu", weights_only=True)

    def style(scene: Picture) -> Picture:
        with torch.no_grad():
            made = styled(torch.from_numpy(scene).permute(2, 0, 1)[None].float(), state)[0]
        return made.clamp(0, 255).round().byte().permute(1, 2, 0).numpy()

    return style, {}


if __name__ == "__main__":
    main()
