"""One small file per paper."""
