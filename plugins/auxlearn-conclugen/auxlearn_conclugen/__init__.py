"""ConCluGen: contrast, clustering and reconstruction of several modalities.

Importing this module loads no torch.
"""

__all__: list[str] = []
