"""One gradient step, in a form that a GPU can repeat without Python: recorded once as a CUDA graph, then replayed.

A network of this size has hundreds of kernels of a few microseconds a step; launched one by one, a large GPU would wait
for Python most of the time. What changes between steps (the batch, the learning rate) therefore lies in tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.training.batches import Planes
from sr_tvm.training.optimizers import Optimizers

Body = Callable[[], None]
# Steps that a GPU does one kernel at a time before it records: libraries choose their kernels and set up in them.
PLAIN_STEPS = 3
# Of Charbonnier's loss: below it, a difference counts by its square.
CHARBONNIER = 1e-3


def charbonnier(output: Tensor, wanted: Tensor) -> Tensor:
    """Compute Charbonnier's loss, the mean of sqrt(difference^2 + `CHARBONNIER`^2) (Lai et al. 2017).

    Args:
        output: Of the network, of any shape, in 0..1.
        wanted: Of the same shape.

    Returns:
        One number.
    """
    return ((output - wanted).square() + CHARBONNIER**2).sqrt().mean()


Loss = Callable[[Tensor, Tensor], Tensor]
LOSS: dict[str, Loss] = {"l1": functional.l1_loss, "charbonnier": charbonnier, "l2": functional.mse_loss}


def mixed(model: WDSR, device: torch.device, dtype: torch.dtype) -> None:
    """Have the blocks' convolutions compute in another precision, within ``torch.autocast``.

    Head, tail, skip and the sum along the residual path stay float32: in bfloat16, whose steps just below 1 are 1/256,
    the output would be rounded as coarsely as the picture itself.

    Args:
        model: Changed in place.
        device: Where it computes.
        dtype: Of the blocks' convolutions.
    """
    for block in model.blocks:
        # Weights are made anew each step from v and g, so there is nothing to cache between the casts.
        within = torch.autocast(device.type, dtype, cache_enabled=False)
        block.forward = within(block.forward)


def best_precision(device: torch.device) -> str:
    """Choose the precision of the blocks' convolutions that the hardware is fastest in.

    On a CPU with AVX512-BF16 a step of a 3x24 takes 63 ms of thread time instead of 113, to the same PSNR
    (docs/training.md); on others PyTorch would only imitate it.

    Args:
        device: Where the steps are computed.

    Returns:
        ``bfloat16`` where the hardware multiplies it, else ``float32``.
    """
    if device.type == "cuda":
        has = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        tell = getattr(torch.cpu, "get_capabilities", None)  # younger than the oldest PyTorch that we take
        has = bool(tell and tell().get("avx512_bf16"))
    return "bfloat16" if has else "float32"


class TrainingStep:
    """One gradient step: forward, loss, backward, and the optimizers' step.

    The loss is that to the truth or, of batches with a teacher's output: (1 - share) that to the truth + share that to
    the teacher's.

    Args:
        model: What is trained, on ``device``.
        lr: The first learning rate.
        share: Of the loss, to the teacher's output.
        device: Where the step is computed.
        record: Makes of a function one that repeats its work on the device, Python left out; None: every step is
            plain Python. See :func:`cuda_graph`.
        clip: The largest norm of all gradients together; longer ones are shortened to it. 0: as they are.
        optimizer: Of the blocks' filters, ``muon`` or ``adam``.
        loss: A key of ``LOSS``.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        share: float,
        device: torch.device,
        record: Callable[[Body], Body] | None,
        clip: float = 0.0,
        optimizer: str = "muon",
        loss: str = "l1",
    ) -> None:
        self.loss = LOSS[loss]
        self.clip, self.weights = clip, list(model.parameters())
        self.model, self.share, self.record = model, share, record
        self.optimizers = Optimizers(dict(model.named_parameters()), lr, device, optimizer)
        # The sum of the losses of all steps since it was last set to zero: read seldom, since reading it waits.
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.batch: Planes = ()
        self.forget()

    def forget(self) -> None:
        """Record anew: a recording keeps to the very tensors that were there, Adam's moments among them."""
        self.plain = 0
        self.repeat: Callable[[Planes], None] | None = None if self.record is None else self._first

    def __call__(self, batch: Planes, lr: float) -> None:
        """Change the model by one step.

        Args:
            batch: Low (N, 3, p, p), high (N, 3, scale p, scale p) and, with a teacher, its output like high; float32
                in 0..1.
            lr: The learning rate.
        """
        self.optimizers.rate(lr)
        if self.batch and self.batch[0].shape != batch[0].shape:
            self.forget()  # larger patches from now on
        if self.repeat is None:
            self.batch = batch
            self._body()
        else:
            self.repeat(batch)

    def _body(self) -> None:
        # Set to None, not to zero: within a recording the gradients get memory of their own, always written anew.
        self.model.zero_grad(set_to_none=True)
        low, high, *others = self.batch
        output = self.model(low)
        loss = self.loss(output, high)
        for wanted in others:
            loss = (1 - self.share) * loss + self.share * self.loss(output, wanted)
        loss.backward()
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizers.step()
        self.total += loss.detach()

    def _first(self, batch: Planes) -> None:
        """Do the first steps as they come, then record; a recording does not compute, so its step is then repeated."""
        self.batch = tuple(plane.clone() for plane in batch)
        with _best_kernels(batch[0].device):
            if self.plain < PLAIN_STEPS:
                self.plain += 1
                with _aside(batch[0].device):
                    self._body()
                return
            assert self.record is not None
            again = self.record(self._body)

        def repeat(batch: Planes) -> None:
            for ours, plane in zip(self.batch, batch, strict=True):
                ours.copy_(plane)
            again()

        self.repeat = repeat
        again()


def cuda_graph(body: Body) -> Body:
    """Record a function as a CUDA graph; see https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA graphs".

    Args:
        body: Work on the GPU alone, on tensors that stay where they are.

    Returns:
        A function that repeats the work.

    Raises:
        SrTvmError: This GPU or PyTorch cannot record it.
        torch.cuda.OutOfMemoryError: The GPU's memory is too small for the step.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # Only this thread's calls count: another may be bringing the next batch to the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            body()
    except torch.cuda.OutOfMemoryError:
        raise  # nothing is wrong with the step
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["no reason told"])[0][:160]
        raise SrTvmError(f"a step cannot be recorded as a CUDA graph ({reason}); use --no-graph") from error
    return graph.replay


@contextmanager
def _best_kernels(device: torch.device) -> Iterator[None]:
    """Patches are all of one size: have cuDNN try its kernels once and keep the fastest. On a CPU, nothing."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """On a stream of its own, as steps before a recording must be; on a CPU, nothing."""
    if device.type != "cuda":
        yield
        return
    stream, around = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(around)
    with torch.cuda.stream(stream):
        yield
    around.wait_stream(stream)
