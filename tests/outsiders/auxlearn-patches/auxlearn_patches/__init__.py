"""Tell where a patch lies, seen from another one (arXiv 1505.05192).

Importing this module loads no torch.
"""

from auxlearn_patches.provider import PatchesParams as PatchesParams
from auxlearn_patches.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

__all__ = ["PatchesParams", "auxlearn_pretext_tasks"]
