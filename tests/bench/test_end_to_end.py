from __future__ import annotations

import numpy as np
from PIL import Image

from bench.end_to_end import PEER, PUBLISHED, UP_TO_DATE, _other_pictures, _with_another_picture, verdict, where_it_goes

FLOAT32, FAST = PUBLISHED.values()


def test_goal_is_judged_at_each_precision_and_at_the_better_one():
    line = verdict({PEER: [4.0, 9.0, 3.0], FLOAT32: [1.2], FAST: [0.8]})
    assert line.endswith(": float32 0.30 MISSED by 20%, fast 0.20 met; at either precision met (fast)")
    line = verdict({PEER: [4.0], FLOAT32: [1.2], FAST: [2.0]})
    assert line.endswith("; at either precision MISSED by 20% (float32)")


def test_what_a_run_takes_before_any_work_is_told():
    line = where_it_goes({UP_TO_DATE: [0.5, 0.4, 0.9], FLOAT32: [1.2], FAST: [0.8]})
    assert "looking at S3 0.50 s" in line
    assert line.endswith(": float32 0.70 s, fast 0.30 s")


def test_every_run_gets_a_picture_that_was_never_there(tmp_path):
    image = tmp_path / "amber.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(image)
    pictures = _other_pictures(image, tmp_path / "others", count=3)
    assert len({path.name for path in pictures}) == len({path.read_bytes() for path in pictures}) == 3
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size == (64, 32)
    command = _with_another_picture("job", lambda path: ["style", path.name], pictures, {})
    ran = []
    for _ in pictures:
        command.before()
        ran.append(list(command.args))
    assert ran == [["style", path.name] for path in pictures]
