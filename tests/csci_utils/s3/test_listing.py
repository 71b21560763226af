from __future__ import annotations

import pytest
from botocore.utils import parse_timestamp

from csci_utils import s3
from csci_utils.s3 import S3Uri


def page(*keys: str, token: str = "", date: str = ""):
    facts = "<Size>3</Size>" + (f"<LastModified>{date}</LastModified>" if date else "")
    listed = "".join(f'<Contents><Key>{key}</Key>{facts}<ETag>"{key}"</ETag></Contents>' for key in keys)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    text = f"<ListBucketResult><EncodingType>url</EncodingType>{listed}{more}</ListBucketResult>"
    return lambda handler: handler.answer(200, text)


def test_a_page_is_asked_for_when_it_is_needed(store):
    store.faults.extend([page("a", "b", token="next"), page("c")])
    listed = s3.list_objects(S3Uri("bucket", "images/"))
    assert store.requests == []
    assert [next(listed).uri.key, next(listed).uri.key] == ["a", "b"]
    assert len(store.requests) == 1
    assert next(listed).uri.key == "c"
    assert list(listed) == []
    assert len(store.requests) == 2
    assert "prefix=images%2F" in store.requests[0]
    assert "continuation-token=next" in store.requests[1]


def test_only_the_first_page_is_told_where_to_begin(store):
    store.faults.extend([page("images/b", "images/c", token="next"), page("images/d")])
    listed = s3.list_objects(S3Uri("bucket", "images/"), after=S3Uri("bucket", "images/a b+ü"))
    assert [info.uri.key for info in listed] == ["images/b", "images/c", "images/d"]
    assert "start-after=images%2Fa%20b%2B%C3%BC" in store.requests[0]
    assert "start-after" not in store.requests[1]
    assert "continuation-token=next" in store.requests[1]


@pytest.mark.parametrize("after", ["", "images", "imager/x", "a/b"])
def test_what_lies_before_the_prefix_is_not_asked_to_be_left_out(store, after):
    store.faults.append(page("images/b"))
    assert len(list(s3.list_objects(S3Uri("bucket", "images/"), after=S3Uri("bucket", after)))) == 1
    assert "start-after" not in store.requests[0]


@pytest.mark.parametrize(
    "date", ["2026-11-21T18:37:35.000Z", "2026-11-21T18:37:35.123456Z", "2026-11-21T18:37:35+01:00", "20261121T183735Z"]
)
def test_dates_are_read_as_botocore_reads_them(store, date):
    store.faults.append(page("a", date=date))
    (listed,) = s3.client().list_objects_v2(Bucket="bucket")["Contents"]
    assert listed["LastModified"] == parse_timestamp(date)


def test_a_listing_does_not_take_the_time_that_botocore_needs_for_dates(store, monkeypatch):
    monkeypatch.setattr("dateutil.parser.parse", None)
    store.faults.append(page("a", date="2026-11-21T18:37:35.000Z"))
    assert len(list(s3.list_objects(S3Uri("bucket", "")))) == 1


def test_keys_are_as_they_are(store):
    store.faults.append(page("a%20b%2Bc%25d%0Ae"))
    (info,) = s3.list_objects(S3Uri("bucket", ""))
    assert info.uri == S3Uri("bucket", "a b+c%d\ne")
    assert (info.size_bytes, info.sha256) == (3, None)
