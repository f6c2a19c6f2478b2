"""Clip manifest, splits, shards, validation, the generated sample set and the loader. Only `loader` needs torch."""
