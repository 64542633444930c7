"""Plugins of strangers: their tests need them installed, so `tests/packaging` runs them in a fresh environment."""

collect_ignore_glob = ["*"]
