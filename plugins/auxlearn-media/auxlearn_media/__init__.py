"""Raw media: video frames, sound and text, as data and through frozen networks.

Importing this module loads no torch.
"""

__all__: list[str] = []
