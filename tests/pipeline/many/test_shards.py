"""Shards: the same pictures make the same shards everywhere, and a new picture changes few of them."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.many.shards import FEWEST, MOST, Shard, cut

SHARD = Shard(
    s3_root="s3://bucket/prefix",
    model="mosaic.pth",
    images=("a.jpg", "b c.png", "d.gif", "x/a.jpg"),
    max_side=None,
    quality=95,
    precision="float32",
)


def names(number: int, *, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return sorted({f"holiday/{rng.randrange(10**9):09}.jpg" for _ in range(number)})


@pytest.mark.slow
@given(st.sets(st.text(min_size=1, max_size=8), max_size=1500))
def test_every_picture_is_in_one_shard_in_order(images):
    shards = list(cut(sorted(images)))
    assert [image for shard in shards for image in shard] == sorted(images)
    assert all(FEWEST <= len(shard) <= MOST for shard in shards[:-1])
    assert all(shards)


@pytest.mark.slow
def test_a_new_picture_changes_few_shards():
    images = names(10_000)
    before = set(cut(images))
    changed = [
        len(set(cut(sorted([*images, f"holiday/{number:09}.jpg"]))) - before) for number in range(0, 10**9, 10**8)
    ]
    assert 30 < len(before) < 120
    assert max(changed) <= 6
    assert sum(changed) / len(changed) <= 4


@pytest.mark.parametrize(
    "other",
    [{"model": "candy.pth"}, {"max_side": 100}, {"quality": 90}, {"precision": "fast"}, {"images": ("a.jpg",)}],
    ids=lambda other: next(iter(other)),
)
def test_what_is_wanted_makes_the_identity(other):
    assert replace(SHARD, **other).identity != SHARD.identity


@pytest.mark.parametrize(
    "other", [{"s3_root": "s3://other"}, {"max_pixels": 1}, {"forced": "now"}, {"retry_failed": True}]
)
def test_how_it_is_made_does_not(other):
    assert replace(SHARD, **other).identity == SHARD.identity


def test_a_shard_says_where_everything_lies():
    assert str(SHARD.result_uri("b c.png")) == "s3://bucket/prefix/stylized/mosaic/b c.png"
    assert str(SHARD.result_uri("d.gif")) == "s3://bucket/prefix/stylized/mosaic/d.png"
    assert str(replace(SHARD, max_side=64).result_uri("x/a.jpg")) == "s3://bucket/prefix/stylized/mosaic/x/a@64.jpg"
    assert str(SHARD.manifest_uri) == f"s3://bucket/prefix/stylized/mosaic/.shards/{SHARD.identity}.jsonl"
    assert (SHARD.parameters("a.jpg").quality, SHARD.parameters("b c.png").quality) == (95, None)


def test_nothing_that_was_put_together_of_a_shard_goes_to_other_processes():
    shard = replace(SHARD)
    sent = pickle.dumps(shard)
    assert shard.result_uri("a.jpg").key.endswith("/a.jpg")
    assert shard.identity
    assert pickle.dumps(shard) == sent
    assert pickle.loads(sent).result_uri("d.gif") == shard.result_uri("d.gif")
