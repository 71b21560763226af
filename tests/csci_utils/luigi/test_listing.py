from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Iterator

import luigi
import luigi.tools.range
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csci_utils import s3
from csci_utils.luigi import listing
from csci_utils.luigi.folder import S3FolderTarget
from csci_utils.luigi.listing import BulkComplete, bulk_complete, exists_many, look_many
from csci_utils.luigi.target import ExactKeyS3Target, SuffixPreservingLocalTarget
from csci_utils.s3 import AccessRefusedError, BucketMissingError, KeysRefusedError, ObjectInfo, S3Uri
from csci_utils.s3.errors import UnsupportedError
from tests.csci_utils.fake_store import refuse

PAGE_KEYS = 10


class Counted:
    """A store that counts its requests, with small pages."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {"bucket": []}
        self.lists: list[str] = []
        self.heads: list[str] = []
        self.num_given = 0
        self.in_order = True
        self.knows_after = True
        self.refusal: Exception | None = None

    @property
    def num_requests(self) -> int:
        return len(self.lists) + len(self.heads)

    def head(self, uri: S3Uri) -> ObjectInfo | None:
        self.heads.append(uri.key)
        return self.info(uri) if uri.key in self.held.get(uri.bucket, []) else None

    def info(self, uri: S3Uri) -> ObjectInfo:
        return ObjectInfo(uri, f"etag of {uri.key}", len(uri.key), None)

    def list_objects(self, prefix: S3Uri, *, after: S3Uri, first_keys: int | None = None) -> Iterator[ObjectInfo]:
        if self.refusal:
            self.lists.append(prefix.key)
            raise self.refusal
        if prefix.bucket not in self.held:
            self.lists.append(prefix.key)
            raise BucketMissingError("no such bucket")
        keys = [key for key in self.held[prefix.bucket] if key.startswith(prefix.key)]
        if self.knows_after:
            keys = [key for key in keys if key > after.key]
        keys.sort(reverse=not self.in_order)
        num_keys, start = first_keys or PAGE_KEYS, 0
        while start == 0 or start < len(keys):
            self.lists.append(prefix.key)
            for key in keys[start : start + num_keys]:
                self.num_given += 1
                yield self.info(S3Uri(prefix.bucket, key))
            start, num_keys = start + num_keys, PAGE_KEYS


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
    found = look_many(S3Uri("bucket", key) for key in wanted)
    num_requests = counted.num_requests - before
    assert {uri.key for uri in found} == set(wanted) & set(counted.held["bucket"])
    assert found == {uri: counted.info(uri) for uri in found}
    return num_requests


def numbered(folder: str, numbers: range) -> list[str]:
    return [f"{folder}/{number:04d}.jpg" for number in numbers]


@pytest.mark.slow
def test_keys_that_lie_together_are_one_request_a_page(counted):
    counted.held["bucket"] = numbered("images", range(35))
    assert look(counted, numbered("images", range(5))) == 1
    assert look(counted, numbered("images", range(35))) == 4
    assert look(counted, numbered("images", range(20, 60))) == 2
    assert counted.heads == []


def test_absent_keys_are_told_by_the_end_of_the_listing(counted):
    assert look(counted, numbered("images", range(35))) == 1


def test_one_key_is_one_look(counted):
    counted.held["bucket"] = ["images/a"]
    assert look(counted, ["images/a"]) == 1
    assert look(counted, ["images/b"]) == 1
    assert counted.lists == []
    assert look(counted, []) == 0


def test_what_others_have_there_costs_no_page(counted):
    ours = numbered("images", range(0, 3500, 100))
    before = [key for name in (" ", "!", "#", "-", ".shards") for key in numbered(f"images/{name}", range(40))]
    counted.held["bucket"] = [*before, *ours, *numbered("images/x", range(500))]
    assert look(counted, ours) == 4
    assert look(counted, ours[5:15]) == 1
    assert counted.lists[:4] == ["images/", "images/", "images/", "images/3"]
    assert counted.heads == []


def test_scattered_keys_cost_no_more_requests_than_looks(counted):
    counted.held["bucket"] = numbered("images", range(1000))
    assert look(counted, numbered("images", range(50, 1000, 100))) == 10
    assert len(counted.lists) == 3


def test_scattered_keys_are_soon_left_to_looks(counted):
    counted.held["bucket"] = numbered("images", range(0, 10_000, 2))
    look(counted, numbered("images", range(5, 10_000, 100)))
    assert len(counted.lists) == 7


def test_behind_scattered_keys_listing_begins_again(counted):
    counted.held["bucket"] = numbered("images", range(1000))
    wanted = [*numbered("images", range(5, 100, 20)), *numbered("images", range(500, 600))]
    assert look(counted, wanted) == 2 + 3 + 10
    wanted = [*wanted, "images/0700.jpg", "images/0800.jpg", *numbered("images", range(900, 910))]
    assert look(counted, wanted) == 2 + 3 + 10 + 2 + 1


def test_listing_goes_on_while_it_pays(counted):
    counted.held["bucket"] = numbered("images", range(1000))
    wanted = [*numbered("images", range(100)), "images/0500.jpg", "images/0999.jpg"]
    assert look(counted, wanted) == 10 + 2
    counted.held["bucket"] = numbered("images", range(10_000))
    wanted = [*numbered("images", range(15)), "images/9998.jpg", "images/9999.jpg"]
    assert look(counted, wanted) == 3


def test_folders_far_apart_are_listed_each_by_itself(counted):
    counted.held["bucket"] = [*numbered("a", range(8)), *numbered("b", range(500)), *numbered("c", range(8))]
    wanted = [*numbered("a", range(8)), *numbered("c", range(8))]
    assert look(counted, wanted) == 2
    assert counted.lists[:2] == ["", "c/000"]


def test_one_flag_in_each_of_many_folders_is_a_listing_too(counted):
    folders = [f"days/{number:03d}" for number in range(30)]
    counted.held["bucket"] = [f"{folder}/{name}" for folder in folders for name in ("_SUCCESS", "a", "b")]
    assert look(counted, [f"{folder}/_SUCCESS" for folder in folders]) == 8
    assert counted.heads == []


def test_an_object_and_a_folder_of_one_name_are_told_apart(counted):
    counted.held["bucket"] = ["x/1", *numbered("x-", range(30))]
    look(counted, ["x", "x/1", "x/2", "x/"])
    look(counted, ["x", "x/1"])


@pytest.mark.parametrize("refusal", [AccessRefusedError("refused"), UnsupportedError("unknown")], ids=["403", "501"])
def test_where_listing_is_refused_each_object_is_looked_at(counted, refusal):
    counted.held["bucket"] = numbered("images", range(0, 9, 2))
    counted.refusal = refusal
    assert look(counted, [*numbered("images", range(9)), *numbered("styles", range(9))]) == 1 + 18


def test_where_the_keys_are_refused_nothing_else_is_looked_at(counted):
    counted.held["bucket"] = numbered("images", range(9))
    counted.refusal = KeysRefusedError("expired")
    with pytest.raises(KeysRefusedError):
        look(counted, numbered("images", range(9)))
    assert counted.num_requests == 1


def test_a_store_that_lists_in_no_order_is_believed_only_in_what_it_has(counted):
    counted.held["bucket"] = numbered("images", range(0, 30, 2))
    counted.in_order = False
    assert look(counted, numbered("images", range(30))) == 1 + 20


def test_a_store_that_begins_where_it_likes_is_given_up(counted):
    counted.held["bucket"] = numbered("images", range(200))
    counted.knows_after = False
    assert look(counted, numbered("images", range(10))) == 1
    assert look(counted, numbered("images", range(95, 105))) == 4 + 7


def test_keys_right_before_a_wanted_one_do_not_hide_it(counted):
    counted.held["bucket"] = [*(f"images/0~{number:03d}" for number in range(100)), "images/1", "images/2"]
    assert look(counted, ["images/1", "images/2", "images/3"]) == 3


def test_of_a_missing_key_nothing_is_told(counted):
    counted.held["bucket"] = ["images/a"]
    uris = [S3Uri("bucket", "images/a"), S3Uri("bucket", "images/b")]
    assert look_many(uris) == {uris[0]: ObjectInfo(uris[0], "etag of images/a", 8, None)}
    assert counted.heads == []


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_a_listing_begins_before_a_key_and_behind_its_neighbours(key, data):
    before = listing._just_before(key)
    assert before.encode() < key.encode()
    assert len(before.encode()) <= max(len(key.encode()), listing.LONGEST_KEY_BYTES)
    ascii_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7D), max_size=3)
    other = key[:-1] + data.draw(ascii_text)
    assert not before.encode() < other.encode() < key.encode()


def test_a_listing_begins_at_what_is_short_and_plain():
    places = {
        "a/cat.jpg": "a/cat.jpf~",
        "a/!": "a/ ~",
        "a/ ": "a/",
        "a\n": "a",
        "a/\u732b": "a/~",
        "\u00fc": "~",
        "": "",
    }
    assert {key: listing._just_before(key) for key in places} == places
    for key in ("k" * 1024, "\u732b" * 341, "k" * 1021 + "\u732b"):
        assert len(listing._just_before(key).encode()) <= 1024
        assert listing._just_before(key).encode() < key.encode()


@pytest.mark.slow
def test_keys_of_every_kind_are_told_apart_by_a_listing(any_store):
    bucket = any_store.new_bucket()
    names = [" ", "! ", "a b", "a+b", "a%20b", "B", "b", "~", "u\u0308", "\u00fc", "\u732b", "\uff5e", "\U0001f408"]
    keys = [f"{folder}{name}{suffix}" for folder in ("", "x/") for name in names for suffix in ("", ".jpg")]
    for key in keys[::2]:
        any_store.plain.put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = look_many(S3Uri(bucket, key) for key in keys)
    assert {uri.key: (info.etag, info.size_bytes) for uri, info in found.items()} == {
        key: (hashlib.md5(key.encode()).hexdigest(), len(key.encode())) for key in keys[::2]
    }


def test_a_key_that_no_store_takes_is_not_asked_for(counted):
    uris = [S3Uri("bucket", "ä" * 513), S3Uri("bucket", "ä" * 512)]
    counted.held["bucket"] = [uri.key for uri in uris]
    assert (list(look_many(uris)), counted.heads) == (uris[1:], [uris[1].key])


def test_in_a_bucket_that_is_not_there_nothing_is(counted):
    assert look_many([S3Uri("other", "a/1"), S3Uri("other", "a/2"), S3Uri("bucket", "a/1")]) == {}
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


@pytest.mark.slow
def test_a_task_without_outputs_is_asked_itself(bucket):
    class Nothing(BulkComplete, luigi.Task):
        number = luigi.IntParameter()

    with pytest.warns(UserWarning, match="without outputs has no custom complete"):
        assert Nothing.bulk_complete([1]) == []


def test_of_keys_that_lie_together_no_more_are_listed_than_that(counted, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_KEYS", 1000)
    counted.held["bucket"] = [f"images/{number:04}.jpg" for number in range(500)]
    wanted = [S3Uri("bucket", f"images/{number:04}.jpg") for number in range(100, 140)]
    assert list(look_many(wanted, close_together=True)) == wanted
    assert (counted.num_requests, counted.num_given) == (1, 40 + 10 + 8)


@pytest.mark.slow
@given(
    held=st.sets(st.integers(0, 60), max_size=60),
    wanted=st.sets(st.integers(0, 60), max_size=40),
    together=st.booleans(),
)
def test_what_is_expected_to_lie_together_may_lie_anywhere(held, wanted, together):
    counted = Counted()
    counted.held["bucket"] = [f"{number:03}" for number in held]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(listing, "list_objects", counted.list_objects)
        patched.setattr(listing, "head", counted.head)
        found = look_many([S3Uri("bucket", f"{number:03}") for number in wanted], close_together=together)
    assert {int(uri.key) for uri in found} == held & wanted
