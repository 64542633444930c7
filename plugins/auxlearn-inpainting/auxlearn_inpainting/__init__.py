"""Pretext task: fill in what was masked out of the image (HMTL)."""
