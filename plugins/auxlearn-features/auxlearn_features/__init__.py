"""Data: tables of precomputed feature vectors, one or several modalities a row.

Importing this module loads no torch.
"""

__all__: list[str] = []
