"""Files, S3 and Luigi helpers that know nothing of pictures or nets."""
