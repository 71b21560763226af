from __future__ import annotations

import pytest

from csci_utils.s3 import S3Uri


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://b2/images/cat.jpg", "b2", "images/cat.jpg"),
        ("s3://my.bucket", "my.bucket", ""),
        ("s3://b2/a?b#c d//e/", "b2", "a?b#c d//e/"),
    ],
)
def test_every_character_of_a_key_counts(text, bucket, key):
    uri = S3Uri.parse(text)
    assert (uri.bucket, uri.key) == (bucket, key)
    assert S3Uri.parse(str(uri)) == uri


@pytest.mark.parametrize("text", ["", "b/k", "http://b/k", "S3:/b/k"])
def test_other_addresses_are_refused(text):
    with pytest.raises(ValueError, match="wanted an address like s3://bucket/key, found"):
        S3Uri.parse(text)


@pytest.mark.parametrize("text", ["s3://", "s3:///key", "s3://a b/key", "s3://user:pass@host/key"])
def test_a_bucket_without_a_name_is_refused(text):
    with pytest.raises(ValueError, match="wanted a bucket's name after s3://, found"):
        S3Uri.parse(text)


@pytest.mark.parametrize("root", ["s3://b2", "s3://b2/", "s3://b2/p", "s3://b2/p/"])
def test_joining_puts_one_slash_between(root):
    assert str(S3Uri.parse(root).joined("images/cat.jpg")) in ("s3://b2/images/cat.jpg", "s3://b2/p/images/cat.jpg")
    assert ("/p/" in str(S3Uri.parse(root).joined("cat"))) == ("/p" in root)


@pytest.mark.parametrize("relative", ["", "/images/cat.jpg"])
def test_joining_takes_relative_keys_only(relative):
    with pytest.raises(ValueError, match="wanted a key relative to s3://b2/p, found"):
        S3Uri.parse("s3://b2/p").joined(relative)
