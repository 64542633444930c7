"""A plugin of data in which there is nothing to learn, unless labels leak; of which a process may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from typing import Any

import attrs

from auxlearn.registry import Provider, hookimpl, option


@attrs.frozen(kw_only=True)
class NoiseParams:
    """Params of the data source."""

    leak: bool = option(False, help="Show the label as the brightness of the image.")
    die: bool = option(False, help="Kill the process that builds it.")


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer the noise."""

    def build(params: NoiseParams, _context: Any) -> Any:
        import torch
        from torch.utils.data import Dataset

        from auxlearn.testing.fakes import TinySource

        class Blind(Dataset):
            def __init__(self, rows: Any, split: str) -> None:
                self.rows, self.split = rows, sum(split.encode())

            def __len__(self) -> int:
                return len(self.rows)

            def __getitem__(self, index: int) -> dict[str, Any]:
                item = self.rows[index]
                shape = item["image"].shape
                generator = torch.Generator().manual_seed(1000 * self.split + index)
                return {**item, "image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)}

        class Noise(TinySource):
            def dataset(self, split: str) -> Any:
                rows = super().dataset(split)
                return rows if params.leak else Blind(rows, split)

        if params.die:
            os.kill(os.getpid(), signal.SIGKILL)
        return Noise(rows=32)

    yield Provider(name="noise", summary="Noise.", params=NoiseParams, build=build)
