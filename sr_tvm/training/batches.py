"""Where the batches of a run come from: cut on the CPU, cut ahead by a thread, or cut on a GPU that holds all pictures.

All give the same batch for the same seed and step; only the last bit of the division by 255 may differ on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_tvm.training.data import Pairs
from sr_tvm.training.settings import Settings

Source = Callable[[int], tuple[Tensor, Tensor]]
# Of a GPU's free memory, what pictures may take: a network of this size and its gradients need far less than the rest.
SHARE = 0.5


def source(pairs: Pairs, settings: Settings, device: torch.device) -> Source:
    """A function from a step to its (low, high), float32 in 0..1 on ``device``, in channels-last memory order."""
    if device.type != "cuda":
        return Cut(pairs, settings, device)
    free, _ = torch.cuda.mem_get_info(device)
    bytes_ = sum(p.low.size + p.high.size for p in pairs.pairs)
    return Resident(pairs, settings, device) if bytes_ < SHARE * free else Ahead(Cut(pairs, settings, device))


class Cut:
    """Cut by the CPU when it is asked for. Beside a step on the CPU that is too little to be worth a thread."""

    def __init__(self, pairs: Pairs, settings: Settings, device: torch.device) -> None:
        self.pairs, self.settings, self.device = pairs, settings, device

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        s = self.settings
        batch = self.pairs.batch(s.seed, step, s.batch, s.patch)
        low, high = torch.from_numpy(batch.low), torch.from_numpy(batch.high)
        if self.device.type == "cuda":  # only from pinned memory is the copy not waited for
            low, high = low.pin_memory(), high.pin_memory()
        return low.to(self.device, non_blocking=True), high.to(self.device, non_blocking=True)


class Ahead:
    """Has a thread make the next step's batch while this step is computed."""

    def __init__(self, made: Source) -> None:
        self.made = made
        self.thread = ThreadPoolExecutor(1, "batches")
        self.step = -1
        self.next: Future[tuple[Tensor, Tensor]] | None = None

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        ready = self.next if step == self.step else None
        batch = ready.result() if ready else self.made(step)
        self.step, self.next = step + 1, self.thread.submit(self.made, step + 1)
        return batch


class Resident:
    """All pictures as bytes on the device; a batch is an index computed there and one look-up.

    A turned patch is read in the turned order: with i, j the row and column in the batch and m = size - 1, a quarter
    turn (numpy's rot90) reads (j, m - i), and mirroring is j -> m - j before it.
    """

    def __init__(self, pairs: Pairs, settings: Settings, device: torch.device) -> None:
        self.pairs, self.settings, self.device = pairs, settings, device
        self.low = _Plane([p.low for p in pairs.pairs], settings.patch, 1, device)
        self.high = _Plane([p.high for p in pairs.pairs], settings.patch * pairs.scale, pairs.scale, device)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        s = self.settings
        drawn = torch.from_numpy(self.pairs.draw(s.seed, step, s.batch, s.patch))
        if self.device.type == "cuda":
            drawn = drawn.pin_memory()
        drawn = drawn.to(self.device, non_blocking=True)
        return self.low.cut(drawn), self.high.cut(drawn)


class _Plane:
    """The low or the high pictures, one after the other; patches of ``size``, places times ``scale``."""

    def __init__(self, pictures: list[NDArray[np.uint8]], size: int, scale: int, device: torch.device) -> None:
        self.scale = scale
        self.pixels = torch.empty((sum(p.size for p in pictures) // 3, 3), dtype=torch.uint8, device=device)
        starts, at = [], 0
        for picture in pictures:
            count = picture.size // 3
            # Picture by picture: the file is mapped, and need never be in memory as a whole. PyTorch wants a copy.
            self.pixels[at : at + count] = torch.from_numpy(np.array(picture)).view(count, 3)
            starts.append(at)
            at += count
        self.starts = torch.tensor(starts, device=device)
        self.widths = torch.tensor([p.shape[1] for p in pictures], device=device)
        i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        rows, columns = [], []
        for way in range(8):
            y, x = i, (size - 1 - j if way >= 4 else j)
            for _ in range(way % 4):
                y, x = x, size - 1 - y
            rows.append(y)
            columns.append(x)
        self.rows, self.columns = torch.stack(rows).to(device), torch.stack(columns).to(device)

    def cut(self, drawn: Tensor) -> Tensor:
        """Rows of :meth:`Pairs.draw`, on the device, to (N, 3, size, size)."""
        picture, y, x, way = (column.view(-1, 1, 1) for column in drawn.unbind(1))
        rows = self.rows[way[:, 0, 0]] + y * self.scale
        columns = self.columns[way[:, 0, 0]] + x * self.scale
        patches = self.pixels[self.starts[picture] + rows * self.widths[picture] + columns]
        return patches.permute(0, 3, 1, 2).to(torch.float32).div_(255)
