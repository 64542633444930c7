"""Pretext task: tell by how many quarter turns the image, or each of its tiles, was rotated."""
