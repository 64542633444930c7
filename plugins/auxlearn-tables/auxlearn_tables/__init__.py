"""Data sources for images on disk: `folder` (an image folder) and `table` (a CSV or Parquet manifest).

Offered to auxlearn through `auxlearn_data_sources`. Importing this module loads no torch.
"""

from auxlearn_tables.params import FolderParams as FolderParams
from auxlearn_tables.params import TableParams as TableParams
from auxlearn_tables.params import TargetParams as TargetParams
from auxlearn_tables.provider import auxlearn_data_sources as auxlearn_data_sources

__all__ = ["FolderParams", "TableParams", "TargetParams", "auxlearn_data_sources"]
