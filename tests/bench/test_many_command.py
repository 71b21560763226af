from __future__ import annotations

from pathlib import Path

import pytest

from bench.many_command import ManyInStore
from bench.many_store import Asked


class FilledStore:
    """A store that does nothing but say how many results it holds, and what it was told."""

    def __init__(self, *, num_results: int) -> None:
        self.env = {"AWS_REGION": "here"}
        self.num_results = num_results
        self.told: list[tuple] = []

    def fill(self, prefix, paths):
        self.told.append(("fill", prefix, [path.name for path in paths]))

    def forget(self, prefix):
        self.told.append(("forget", prefix))

    def count(self, prefix):
        self.told.append(("count", prefix))
        return self.num_results

    def requests(self):
        return [
            Asked(1.0, 2.0, "GET", "/r/images/pictures/a.jpg?"),
            Asked(2.0, 5.0, "PUT", "/r/stylized/a?"),
        ]


def filled(folder: Path, store: FilledStore, *, count: int) -> ManyInStore:
    (folder / "some").mkdir()
    for name in ("b.jpg", "a.jpg"):
        (folder / "some" / name).touch()
    model, local = folder / "random.pth", folder / "local"
    return ManyInStore.fill(store, "r", pictures=folder / "some", model=model, count=count, local=local)


def test_a_run_tells_what_its_store_was_asked_and_is_counted(tmp_path):
    store = FilledStore(num_results=1)
    pictures = filled(tmp_path, store, count=1)
    assert store.told == [("fill", "r/images/pictures/", ["a.jpg"]), ("fill", "r/saved_models/", ["random.pth"])]
    pictures.local.mkdir()
    command = pictures.many("many, 1", before=pictures.forget)
    assert command.env == {
        "AWS_REGION": "here",
        "PIPELINE_S3_ROOT": "s3://r",
        "PIPELINE_LOCAL_ROOT": str(pictures.local),
    }
    command.before()
    assert not pictures.local.exists()
    assert store.told[-1] == ("forget", "r/stylized/")
    told = command.after()
    assert (told["num_pictures"], told["moving_s"], told["num_requests"]) == (1, 4.0, 2)
    assert store.told[-1] == ("count", "r/stylized/random/pictures/")


def test_a_run_that_left_out_pictures_ends_the_bench(tmp_path):
    command = filled(tmp_path, FilledStore(num_results=1), count=2).many("many, 2", before=lambda: None)
    with pytest.raises(RuntimeError, match=r"^many, 2 left 1 results, wanted 2$"):
        command.after()


def test_too_few_pictures_are_not_enough(tmp_path):
    with pytest.raises(RuntimeError, match=r"some holds 2 files, wanted 3$"):
        filled(tmp_path, FilledStore(num_results=0), count=3)
