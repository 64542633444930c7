"""The names of classes, in the order of their indices. No torch."""

from __future__ import annotations

__all__ = [
    "AGES_ADIENCE",
    "AGES_FAIRFACE",
    "ATTRIBUTES",
    "CK_PLUS",
    "FER2013",
    "FERPLUS",
    "GENDERS",
    "RACES_FAIRFACE",
    "RACES_UTKFACE",
    "RAF_DB",
]

GENDERS = ("female", "male")
"""The same order for every data set, so that several can share a head."""

FER2013 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Labels 0 to 6 of FER2013, by their AffectNet names."""

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The columns of FER+ that are expressions, in its order."""

RAF_DB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Labels 1 to 7 of RAF-DB."""

CK_PLUS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Labels 0 to 7 of CK+."""

AGES_FAIRFACE = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES_FAIRFACE = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
RACES_UTKFACE = ("White", "Black", "Asian", "Indian", "Others")
AGES_ADIENCE = ("(0, 2)", "(4, 6)", "(8, 12)", "(15, 20)", "(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)")

ATTRIBUTES = tuple(
    """5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
    Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
    Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young""".split()  # noqa: SIM905
)
"""The 40 attributes of CelebA, in its order."""
