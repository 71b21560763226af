"""Luigi helpers: targets, mirrors of S3 objects, and runs with an honest exit status."""
