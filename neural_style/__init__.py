"""Fast neural style (Johnson et al. 2016): tensors, pictures, local paths. No Luigi, no S3."""
