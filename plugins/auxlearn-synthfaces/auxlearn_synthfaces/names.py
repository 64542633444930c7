"""The names that the labels use. Apart from the images, so that listing what the plugin offers loads no numpy."""

__all__ = ["EXPRESSIONS", "MORPHOLOGIES", "SPLITS"]

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""Names of the expressions, in the order of AffectNet's labels."""

MORPHOLOGIES = ("female_morph", "male_morph")
"""Names of the sex-typed shapes. They describe a mesh, not a person's gender."""

SPLITS = ("train", "val", "test")
"""Names of the splits; no subject is in two."""
