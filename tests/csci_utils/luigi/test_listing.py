from __future__ import annotations

import datetime
import random
from collections.abc import Iterator

import luigi
import luigi.tools.range
import pytest

from csci_utils import s3
from csci_utils.luigi import listing
from csci_utils.luigi.folder import S3FolderTarget
from csci_utils.luigi.listing import BulkComplete, bulk_complete, exists_many, held_keys
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.s3 import AccessRefusedError, BucketMissingError, ObjectInfo, S3Uri
from tests.csci_utils.fake_store import refuse

PAGE_KEYS = 10


class Counted:
    """A store that counts its requests, with small pages."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {"bucket": []}
        self.lists: list[str] = []
        self.heads: list[str] = []
        self.in_order = True
        self.may_list = True

    @property
    def num_requests(self) -> int:
        return len(self.lists) + len(self.heads)

    def head(self, uri: S3Uri) -> ObjectInfo | None:
        self.heads.append(uri.key)
        return ObjectInfo(uri, "etag", 1, None) if uri.key in self.held.get(uri.bucket, []) else None

    def list_objects(self, prefix: S3Uri) -> Iterator[ObjectInfo]:
        if not self.may_list:
            self.lists.append(prefix.key)
            raise AccessRefusedError("refused")
        if prefix.bucket not in self.held:
            self.lists.append(prefix.key)
            raise BucketMissingError("no such bucket")
        keys = [key for key in self.held[prefix.bucket] if key.startswith(prefix.key)]
        keys.sort(reverse=not self.in_order)
        for start in range(0, max(len(keys), 1), PAGE_KEYS):
            self.lists.append(prefix.key)
            for key in keys[start : start + PAGE_KEYS]:
                yield ObjectInfo(S3Uri(prefix.bucket, key), "etag", 1, None)


@pytest.fixture
def counted(monkeypatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(listing, "PAGE_KEYS", PAGE_KEYS)
    monkeypatch.setattr(listing, "list_objects", counted.list_objects)
    monkeypatch.setattr(listing, "head", counted.head)
    return counted


def look(counted: Counted, wanted: list[str]) -> int:
    """Look keys up, compare with the truth, and return the number of requests."""
    before = counted.num_requests
    found = held_keys(S3Uri("bucket", key) for key in wanted)
    assert {uri.key for uri in found} == set(wanted) & set(counted.held["bucket"])
    return counted.num_requests - before


def numbered(folder: str, numbers: range) -> list[str]:
    return [f"{folder}/{number:04d}.jpg" for number in numbers]


@pytest.mark.slow
def test_keys_that_lie_together_are_one_request_a_page(counted):
    counted.held["bucket"] = numbered("images", range(35))
    assert look(counted, numbered("images", range(5))) == 1
    assert look(counted, numbered("images", range(35))) == 4
    assert look(counted, numbered("images", range(20, 60))) == 4  # two pages tell nothing, and may
    assert counted.heads == []


def test_absent_keys_are_told_by_the_end_of_the_listing(counted):
    assert look(counted, numbered("images", range(35))) == 1


def test_one_key_is_one_look(counted):
    counted.held["bucket"] = ["images/a"]
    assert look(counted, ["images/a"]) == 1
    assert look(counted, ["images/b"]) == 1
    assert counted.lists == []
    assert look(counted, []) == 0


def test_few_keys_in_a_full_folder_cost_one_request_more_than_looks(counted):
    counted.held["bucket"] = numbered("images", range(1000))
    assert look(counted, numbered("images", range(50, 1000, 100))) == 11
    assert len(counted.heads) == 10


def test_listing_goes_on_while_it_pays(counted):
    counted.held["bucket"] = numbered("images", range(1000))
    wanted = [*numbered("images", range(100)), "images/0500.jpg", "images/0999.jpg"]
    assert look(counted, wanted) == 10 + 90
    counted.held["bucket"] = numbered("images", range(10_000))
    wanted = [*numbered("images", range(15)), "images/9998.jpg", "images/9999.jpg"]
    assert look(counted, wanted) == 17 + 1


def test_folders_far_apart_are_listed_each_by_itself(counted):
    counted.held["bucket"] = [*numbered("a", range(8)), *numbered("b", range(500)), *numbered("c", range(8))]
    wanted = [*numbered("a", range(8)), *numbered("c", range(8))]
    assert look(counted, wanted) == 3  # a page that tells of all of a, one that tells of nothing, and then c
    assert counted.lists == ["", "", "c/000"]


def test_one_flag_in_each_of_many_folders_is_a_listing_too(counted):
    folders = [f"days/{number:03d}" for number in range(30)]
    counted.held["bucket"] = [f"{folder}/{name}" for folder in folders for name in ("_SUCCESS", "a", "b")]
    assert look(counted, [f"{folder}/_SUCCESS" for folder in folders]) == 9
    assert counted.heads == []


def test_an_object_and_a_folder_of_one_name_are_told_apart(counted):
    counted.held["bucket"] = ["x/1", *numbered("x-", range(30))]
    look(counted, ["x", "x/1", "x/2", "x/"])
    look(counted, ["x", "x/1"])


def test_where_listing_is_refused_each_object_is_looked_at(counted):
    counted.held["bucket"] = numbered("images", range(0, 9, 2))
    counted.may_list = False
    assert look(counted, [*numbered("images", range(9)), *numbered("styles", range(9))]) == 1 + 18


def test_a_store_that_lists_in_no_order_is_believed_only_in_what_it_has(counted):
    counted.held["bucket"] = numbered("images", range(0, 30, 2))
    counted.in_order = False
    assert look(counted, numbered("images", range(30))) == 1 + 20


def test_in_a_bucket_that_is_not_there_nothing_is(counted):
    assert held_keys([S3Uri("other", "a/1"), S3Uri("other", "a/2"), S3Uri("bucket", "a/1")]) == set()
    assert counted.num_requests == 2


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_held_and_wanted_the_answer_is_right_and_the_cost_bounded(counted, seed):
    dice = random.Random(seed)
    folders = [f"{a}/{b}" for a in ("a", "ab", "b") for b in ("", "x", "x/y", "é", "\U0001f600")][: dice.randint(1, 15)]
    keys = sorted(
        {f"{dice.choice(folders)}/{dice.randint(0, dice.choice([9, 99, 999]))}" for _ in range(dice.randint(1, 400))}
    )
    counted.held["bucket"] = dice.sample(keys, dice.randint(0, len(keys)))
    wanted = dice.sample(keys, dice.randint(0, min(len(keys), 60)))
    assert look(counted, wanted) <= len(wanted) + max(1, len(wanted) // 10)


# --- targets and tasks


@pytest.fixture
def requests(bucket) -> list[str]:
    """Every request to a real bucket from here on."""
    seen: list[str] = []
    s3.client().meta.events.register("before-send.s3", lambda request, **_: seen.append(request.method))
    return seen


def put(*keys: str) -> None:
    for key in keys:
        s3.client().put_object(Bucket="bucket", Key=key, Body=b"x")


@pytest.mark.slow
def test_targets_of_every_kind_are_told_apart(bucket, tmp_path):
    put("images/a", "images/c", "made/_SUCCESS", "made-2/part-0")
    (tmp_path / "here").write_text("x")

    class Never(ExactKeyS3Target):
        def exists(self):
            return False

    targets = {
        ExactKeyS3Target("s3://bucket/images/a"): True,
        ExactKeyS3Target("s3://bucket/images/b"): False,
        ExactKeyS3Target("s3://bucket/images/c"): True,
        ExactKeyS3Target("s3://bucket/images/c"): True,
        ExactKeyS3Target("s3://bucket/images"): False,
        ExactKeyS3Target("s3://other/images/a"): False,
        Never("s3://bucket/images/a"): False,
        S3FolderTarget("s3://bucket/made"): True,
        S3FolderTarget("s3://bucket/made-2/"): False,
        SuffixPreservingLocalTarget(str(tmp_path / "here")): True,
        SuffixPreservingLocalTarget(str(tmp_path / "there")): False,
    }
    assert exists_many(targets) == targets
    assert exists_many([]) == {}


@pytest.mark.slow
def test_a_hundred_targets_are_one_request(bucket, requests):
    put(*(f"images/{number}" for number in range(0, 100, 2)))
    requests.clear()
    targets = [ExactKeyS3Target(f"s3://bucket/images/{number}") for number in range(100)]
    assert list(exists_many(targets).values()) == [True, False] * 50
    assert requests == ["GET"]


@pytest.mark.slow
def test_a_refusal_is_an_error_and_not_an_absence(store):
    store.faults.extend([refuse(403, "AccessDenied")] * 5)
    with pytest.raises(PermissionError, match="the store refused"):
        exists_many([ExactKeyS3Target("s3://bucket/images/a"), ExactKeyS3Target("s3://bucket/images/b")])


class Daily(BulkComplete, luigi.Task):
    day = luigi.DateParameter()
    name = luigi.Parameter(default="x")

    def output(self):
        return [ExactKeyS3Target(f"s3://bucket/{self.day}/{self.name}.{part}") for part in ("jpg", "json")]


DAYS = [datetime.date(2020, 1, day) for day in range(1, 21)]


@pytest.mark.slow
def test_a_range_of_tasks_is_one_request(bucket, requests):
    put(*(f"{day}/x.{part}" for day in DAYS for part in ("jpg", "json") if (day.day, part) != (7, "json")))
    requests.clear()
    assert Daily.bulk_complete(iter(DAYS)) == [day for day in DAYS if day.day != 7]
    assert requests == ["GET"]
    assert bulk_complete(Daily, [(DAYS[0], "x"), [DAYS[0], "y"], {"day": DAYS[1]}]) == [
        (DAYS[0], "x"),
        {"day": DAYS[1]},
    ]


@pytest.mark.slow
def test_luigis_range_tools_take_it(bucket, requests):
    put(*(f"{day}/y.{part}" for day in DAYS[:-3] for part in ("jpg", "json")))
    requests.clear()
    whole = luigi.tools.range.RangeDaily(
        of=Daily,
        of_params={"name": "y"},
        param_name="day",
        start=DAYS[0],
        stop=DAYS[-1] + datetime.timedelta(days=1),
        now=1577836800 + 30 * 86400,
        days_back=100,
    )
    assert {task.day for task in whole.requires()} == set(DAYS[-3:])
    assert requests == ["GET"]


@pytest.mark.slow
def test_a_task_that_decides_itself_is_asked_itself(bucket):
    class Even(BulkComplete, luigi.Task):
        number = luigi.IntParameter()

        def complete(self):
            return self.number % 2 == 0

        def output(self):
            return ExactKeyS3Target("s3://bucket/nothing")

    assert Even.bulk_complete(range(6)) == [0, 2, 4]


def test_a_task_without_outputs_is_asked_itself(bucket):
    class Nothing(BulkComplete, luigi.Task):
        number = luigi.IntParameter()

    with pytest.warns(UserWarning, match="without outputs has no custom complete"):
        assert Nothing.bulk_complete([1]) == []
