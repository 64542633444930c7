"""Pretext tasks that compare two augmented views of an image: SimCLR and Barlow Twins."""
