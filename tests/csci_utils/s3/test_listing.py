from __future__ import annotations

from csci_utils import s3
from csci_utils.s3 import S3Uri


def page(*keys: str, token: str = ""):
    listed = "".join(f'<Contents><Key>{key}</Key><Size>3</Size><ETag>"{key}"</ETag></Contents>' for key in keys)
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


def test_keys_are_as_they_are(store):
    store.faults.append(page("a%20b%2Bc%25d%0Ae"))
    (info,) = s3.list_objects(S3Uri("bucket", ""))
    assert info.uri == S3Uri("bucket", "a b+c%d\ne")
    assert (info.size_bytes, info.sha256) == (3, None)
