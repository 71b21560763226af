"""Many pictures: whole prefixes times several models, in shards, each with one manifest in S3."""
