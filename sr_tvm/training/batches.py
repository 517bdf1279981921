"""Where the batches of a run come from: cut on the CPU, cut ahead by a thread, or cut on a GPU that holds all pictures.

All give the same batch for the same seed and step; only the last bit of the division by 255 may differ on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_tvm.training.data import ORDERS, Pairs
from sr_tvm.training.drawing import Drawing
from sr_tvm.training.settings import TrainingSettings

Planes = tuple[Tensor, ...]
"""Low and high resolution and, of pairs with a teacher, what it makes of the low one."""
Source = Callable[[int], Planes]
# Of a GPU's free memory, what pictures may take: a network of this size and its gradients need far less than the rest.
SHARE = 0.5


def source(pairs: Pairs, settings: TrainingSettings, device: torch.device) -> Source:
    """Choose where the batches of a run are cut: on the CPU, ahead by a thread, or on a GPU that holds all pictures.

    Args:
        pairs: What the run learns from.
        settings: The run's.
        device: Where the batches are needed.

    Returns:
        A function from a step to its (low, high) or (low, high, teacher_output): (N, 3, p, p) and twice (N, 3, scale p,
        scale p), float32 in 0..1 on ``device``, in channels-last memory order.
    """
    if device.type != "cuda":
        return Cut(pairs, settings, device)
    free, _ = torch.cuda.mem_get_info(device)
    arrays = (a for p in pairs.pairs for a in (p.low, p.high, p.teacher_output))
    bytes_ = sum(a.nbytes for a in arrays if a is not None)
    return Resident(pairs, settings, device) if bytes_ < SHARE * free else Ahead(Cut(pairs, settings, device))


class Cut:
    """A source of batches that the CPU cuts when they are asked for.

    Beside a step on the CPU that is too little work to be worth a thread.
    """

    def __init__(self, pairs: Pairs, settings: TrainingSettings, device: torch.device) -> None:
        self.pairs, self.settings, self.device = pairs, settings, device
        self.draw = Drawing(pairs, settings)

    def __call__(self, step: int) -> Planes:
        """Cut a step's batch.

        Args:
            step: From 0.

        Returns:
            Its planes, on the device; the copy to a GPU need not have ended.
        """
        batch = self.pairs.cut(self.draw(step), self.settings.shape(step)[1])
        planes = [torch.from_numpy(p) for p in batch.planes]
        if self.device.type == "cuda":  # only from pinned memory is the copy not waited for
            planes = [plane.pin_memory() for plane in planes]
        return tuple(plane.to(self.device, non_blocking=True) for plane in planes)


class Ahead:
    """A source of batches that has a thread make the next step's while this step is computed."""

    def __init__(self, made: Source) -> None:
        self.made = made
        self.thread = ThreadPoolExecutor(1, "batches")
        self.step = -1
        self.next: Future[Planes] | None = None

    def __call__(self, step: int) -> Planes:
        """Take a step's batch, and have the thread begin the next.

        Args:
            step: From 0; one that does not follow on the last is made now.

        Returns:
            Its planes.
        """
        ready = self.next if step == self.step else None
        batch = ready.result() if ready else self.made(step)
        self.step, self.next = step + 1, self.thread.submit(self.made, step + 1)
        return batch


class Resident:
    """A source of batches that keeps all pictures on the device, as they are in the cache.

    A batch is an index computed there and one look-up. A turned patch is read in the turned order: with i, j the row
    and column in the batch and m = size - 1, a quarter turn (numpy's rot90) reads (j, m - i), and mirroring is
    j -> m - j before it.
    """

    def __init__(self, pairs: Pairs, settings: TrainingSettings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.draw = Drawing(pairs, settings)
        scale, patches = pairs.scale, settings.patches
        self.planes = [_Plane([p.low for p in pairs.pairs], patches, 1, device)]
        self.planes.append(_Plane([p.high for p in pairs.pairs], patches, scale, device))
        if outputs := [p.teacher_output for p in pairs.pairs if p.teacher_output is not None]:
            self.planes.append(_Plane(outputs, patches, scale, device))

    def __call__(self, step: int) -> Planes:
        """Look up a step's batch.

        Args:
            step: From 0.

        Returns:
            Its planes, on the device.
        """
        drawn = torch.from_numpy(self.draw(step))
        if self.device.type == "cuda":
            drawn = drawn.pin_memory()
        drawn = drawn.to(self.device, non_blocking=True)
        patch = self.settings.shape(step)[1]
        return tuple(plane.cut(drawn, patch, self.settings.shuffle) for plane in self.planes)


class _Plane:
    """Pictures of one kind, one after the other; sizes and places of patches are times ``scale``."""

    def __init__(
        self, pictures: Sequence[NDArray[Any]], patches: Iterable[int], scale: int, device: torch.device
    ) -> None:
        self.scale = scale
        kind = torch.from_numpy(pictures[0][:0].copy()).dtype
        self.pixels = torch.empty((sum(p.size for p in pictures) // 3, 3), dtype=kind, device=device)
        starts, at = [], 0
        for picture in pictures:
            count = picture.size // 3
            # Picture by picture: the file is mapped, and need never be in memory as a whole. PyTorch wants a copy.
            self.pixels[at : at + count] = torch.from_numpy(np.array(picture)).view(count, 3)
            starts.append(at)
            at += count
        self.starts = torch.tensor(starts, device=device)
        self.widths = torch.tensor([p.shape[1] for p in pictures], device=device)
        self.turned = {patch: [t.to(device) for t in _turned(patch * scale)] for patch in patches}
        self.orders = torch.tensor(ORDERS, device=device)

    def cut(self, drawn: Tensor, patch: int, shuffled: bool) -> Tensor:
        """Return the patches of rows of :class:`Drawing` on the device, (N, 3, size, size), float32 in 0..1."""
        picture, y, x, way = (column.view(-1, 1, 1) for column in drawn.unbind(1))
        rows, columns = (places[way[:, 0, 0] % 8] for places in self.turned[patch])
        rows, columns = rows + y * self.scale, columns + x * self.scale
        patches = self.pixels[self.starts[picture] + rows * self.widths[picture] + columns]
        if shuffled:
            patches = patches.gather(3, self.orders[way // 8].expand_as(patches))
        patches = patches.permute(0, 3, 1, 2).to(torch.float32)
        return patches.div_(255) if self.pixels.dtype == torch.uint8 else patches


def _turned(size: int) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns that a patch is read from in each of the 8 ways, (8, size, size)."""
    i, j = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    rows, columns = [], []
    for way in range(8):
        y, x = i, (size - 1 - j if way >= 4 else j)
        for _ in range(way % 4):
            y, x = x, size - 1 - y
        rows.append(y)
        columns.append(x)
    return torch.stack(rows), torch.stack(columns)
