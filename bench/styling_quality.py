"""How near plain torch ours comes with published weights, where those lie beside the checkout.

`python -m bench.styling_quality`: a line of JSON, decibels by weight file and precision.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

from bench.inputs import REAL, REPO
from bench.measure import Command, interleaved
from bench.report import Section

PRECISIONS = {"float32": 70.0, "fast": 43.0}
"""What is promised, decibels."""


def run() -> Iterator[Section]:
    """One table; none without the files."""
    if not (REAL / "saved_models").is_dir():
        return
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIPELINE_"))}
    command = Command(name="quality", args=[sys.executable, "-m", "bench.styling_quality"], env=env, cwd=REPO)
    (sample,) = interleaved([command], rounds=1, discarded=0)["quality"]
    yield section(dict(sample.told))


def section(found_db: dict[str, dict[str, float]]) -> Section:
    """Return the table, with the least of each precision under it."""
    remarks = []
    for precision, promised in PRECISIONS.items():
        least = min(each[precision] for each in found_db.values())
        said = "met" if least >= promised else "MISSED"
        remarks.append(f"goal, {precision} within {promised:g} dB of plain torch: {least:.1f} {said}")
    return Section(
        title="styling: how right it is with published weights",
        notes=["dB against plain torch, before rounding; the lowest over the published pictures. Engine: auto."],
        head=list(PRECISIONS),
        rows=[[name, *(f"{each[precision]:.1f}" for precision in PRECISIONS)] for name, each in found_db.items()],
        remarks=remarks,
    )


def main() -> None:
    """Style every published picture with all published weights, in both precisions and with plain torch."""
    import torch

    from bench.published_script import styled
    from bench.styling_program import decibels
    from neural_style.images import load_image
    from neural_style.stylize import Stylizer
    from neural_style.weights import load_weights

    found: dict[str, dict[str, float]] = {}
    scenes = [load_image(path).rgb_HW3 for path in sorted((REAL / "images").glob("*.jpg"))]
    for weights in sorted((REAL / "saved_models").glob("*.pth")):
        stylizers = {name: Stylizer(weights, device="cpu", precision=name) for name in PRECISIONS}
        found[weights.stem] = dict.fromkeys(PRECISIONS, float("inf"))
        for scene in scenes:
            with torch.no_grad():
                right = styled(torch.from_numpy(scene).permute(2, 0, 1)[None].float(), load_weights(weights))
            right = right[0, :, : scene.shape[0], : scene.shape[1]].permute(1, 2, 0).numpy()
            for name, stylizer in stylizers.items():
                db = decibels(stylizer.style_float(scene), right)
                found[weights.stem][name] = min(found[weights.stem][name], db)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
