"""Styling and training as Luigi tasks whose truth is S3."""
