"""What a speed model learns from: widths, an input size and a latency."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import SCALES, Architecture, Block

# The published figures are for this output, so for 360x640 of input at x2 and 180x320 at x4.
OUTPUT_HEIGHT, OUTPUT_WIDTH = 720, 1280
_WIDTHS = ("channels", "expand", "linear")


@dataclass(frozen=True)
class Sample:
    """``latency`` (ms, or packets) of a network, or of one block alone when ``whole`` is false, on height x width."""

    architecture: Architecture
    height: int
    width: int
    latency: float
    whole: bool = True

    @property
    def convolutions(self) -> tuple[tuple[str, int, int, int], ...]:
        """The convolutions that ``latency`` is for: (name, in channels, out channels, square kernel)."""
        layers = self.architecture.convolutions
        return layers if self.whole else tuple(layer for layer in layers if layer[0].startswith("blocks."))

    @property
    def name(self) -> str:
        """Depth, channels and the widths of the first three blocks, for tables."""
        a = self.architecture
        widths = " ".join(f"{b.expand}/{b.linear}" for b in a.blocks[:3])
        return f"{len(a.blocks)}x{a.channels} [{widths}{' ...' if len(a.blocks) > 3 else ''}]"


def input_size(scale: int) -> tuple[int, int]:
    """Find the size of the low-resolution input whose output is 1280x720, as the published figures have it.

    Args:
        scale: Times as many pixels along each side, 2, 3 or 4.

    Returns:
        Height and width in pixels.
    """
    return OUTPUT_HEIGHT // scale, round(OUTPUT_WIDTH / scale)


def block(channels: int, expand: int, linear: int, latency: float, scale: int = 2) -> Sample:
    """Make a sample of one block alone, on the input of the published latencies.

    Args:
        channels: Those that the block reads and writes.
        expand: Those between its two 1x1 convolutions.
        linear: Those between its second 1x1 and its 3x3 convolution.
        latency: In ms, or packets.
        scale: Of the network that the block is of, 2, 3 or 4: it sets the input size.

    Returns:
        The sample, whose ``whole`` is false.

    Raises:
        SrTvmError: A width or the scale is out of range.
    """
    return Sample(Architecture(scale, channels, (Block(expand, linear),)), *input_size(scale), latency, whole=False)


def csv_columns(path: str | Path) -> list[str]:
    """List the devices of a CSV of block latencies: its columns <device>_ms without the ending.

    Args:
        path: The file.

    Returns:
        The names, in the order of the columns.

    Raises:
        SrTvmError: The file can't be read or has other columns.
    """
    return [name.removesuffix("_ms") for name in _header(path) if name.endswith("_ms")]


def _header(path: str | Path) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            header = next(csv.reader(handle), [])
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SrTvmError(f"{path}: cannot be read as CSV: {error}") from None
    if tuple(header[:3]) != _WIDTHS or not any(name.endswith("_ms") for name in header):
        raise SrTvmError(f"{path}: its columns must be channels,expand,linear and one or more <device>_ms")
    return header


def read_csv(path: str | Path, device: str | None = None) -> tuple[str, list[Sample]]:
    """Read the samples of one device from a CSV of block latencies.

    A device that ends in ``_x3`` or ``_x4`` is taken to be of the input that this scale makes 1280x720 of, any other of
    360x640. (A block does the same at any scale, but the published DSP latencies for x4 are a third of those for x2.)

    Args:
        path: The file: columns channels, expand and linear, and one or more <device>_ms.
        device: Name of the device; None where there is only one.

    Returns:
        The device's name, and a sample of one block from each row, with its latency in ms.

    Raises:
        SrTvmError: No such device (those there are listed), or a row is wrong; the message names the line.
    """  # noqa: DOC501  ValueError is caught below
    known = csv_columns(path)
    if device is None and len(known) == 1:
        device = known[0]
    if device not in known:
        asked = f"has no device {device!r}" if device else "has several devices"
        raise SrTvmError(f"{path} {asked}; choose one with --device: {', '.join(known)}")
    scale = next((s for s in SCALES if device.endswith(f"_x{s}")), 2)
    samples = []
    with open(path, newline="", encoding="utf-8") as handle:
        for number, row in enumerate(csv.DictReader(handle), 2):
            try:
                latency = float(row[f"{device}_ms"])
                if not (math.isfinite(latency) and latency > 0):
                    raise ValueError(f"latency {latency}")
                channels, expand, linear = (int(row[name]) for name in _WIDTHS)
                samples.append(block(channels, expand, linear, latency, scale))
            except (ValueError, TypeError, SrTvmError) as error:
                raise SrTvmError(f"{path}, line {number}: {error}") from None
    if not samples:
        raise SrTvmError(f"{path}: no rows")
    return device, samples


def features(sample: Sample) -> dict[str, float]:
    """Count what a sample's latency is made of.

    Every convolution reads its input and weights and writes its output once, in float32.

    Args:
        sample: A network or a block, on its input size.

    Returns:
        By the names FEATURES: multiply-accumulates by kind of layer, bytes moved, kernels, and 1 for the inference of a
        whole network.
    """
    pixels = sample.height * sample.width
    found = dict.fromkeys(FEATURES, 0.0)
    for name, cin, cout, kernel in sample.convolutions:
        found[f"macs_{_kind(name)}"] += layer_macs(cin, cout, kernel, pixels)
        found["bytes"] += layer_bytes(cin, cout, kernel, pixels)
        found["kernels"] += 1
    found["inference"] = 1.0 if sample.whole else 0.0
    return found


def layer_macs(cin: Any, cout: Any, kernel: int, pixels: int) -> Any:
    """Count the multiply-accumulates of one convolution.

    Args:
        cin: Channels that it reads: a number, or a tensor of them.
        cout: Channels that it makes: a number, or a tensor of them.
        kernel: Taps along each side.
        pixels: Of its input, and as many of its output.

    Returns:
        How many there are, of the type of the widths.
    """
    return pixels * kernel**2 * cin * cout


def layer_bytes(cin: Any, cout: Any, kernel: int, pixels: int) -> Any:
    """Count the bytes that one convolution moves in float32: its input, output, weights and bias once each.

    Args:
        cin: Channels that it reads: a number, or a tensor of them.
        cout: Channels that it makes: a number, or a tensor of them.
        kernel: Taps along each side.
        pixels: Of its input, and as many of its output.

    Returns:
        How many there are, of the type of the widths.
    """
    return 4 * (pixels * (cin + cout) + kernel**2 * cin * cout + cout)


def _kind(name: str) -> str:
    return {"head": "ends", "tail": "ends", "skip": "ends"}.get(name) or name.rsplit(".", 1)[-1]


FEATURES = ("macs_expand", "macs_linear", "macs_project", "macs_ends", "bytes", "kernels", "inference")
MACS = tuple(name for name in FEATURES if name.startswith("macs_"))
