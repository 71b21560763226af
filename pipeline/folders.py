"""The folders below the S3 root, and below the local root alike."""

IMAGES = "images"
STYLES = "styles"
DATASETS = "datasets"
SAVED_MODELS = "saved_models"
STYLIZED = "stylized"
GALLERY = "gallery"
