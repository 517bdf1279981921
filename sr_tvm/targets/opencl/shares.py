"""How the channels of a stage are shared out among work-items, where there are too many for one. Free of TVM."""

from __future__ import annotations

from sr_tvm.regions.region import Concat, Conv, Pointwise, Region, Source

LANES = 4  # of a vector: what a texel has, and what buffers are read and written by


def splits_of(region: Region, outputs: int, narrow: int) -> int:
    """Tell into how many shares the channels of a stage can be divided, each computed by a work-item of its own.

    That takes convolutions which read memory, and otherwise arithmetic channel by channel, all of the same channels. A
    1x1 convolution reads memory where an input has more channels than a work-item keeps.

    Args:
        region: The stage; its sources are in memory.
        outputs: Groups of four channels of a share; 0: all there are.
        narrow: Channels that a work-item keeps in registers from a convolution to a 1x1 convolution after it.

    Returns:
        Shares; 1 where the channels can't be divided so.
    """
    made = [node for node in region.nodes if not isinstance(node, Source)]
    channels = {node.channels for node in made}
    if outputs == 0 or len(channels) != 1 or (c := channels.pop()) % (LANES * outputs):
        return 1
    memory = {node.name for node in region.nodes if isinstance(node, Source)}
    for node in made:
        if isinstance(node, Conv):
            alone = node.weight.shape[2:] == (1, 1) and node.groups == 1
            if alone and not any(region.by_name[name].channels > narrow for name in node.inputs):
                return 1
            if not memory.issuperset(node.inputs) or (node.groups > 1 and not _by_group(node, outputs)):
                return 1
        elif isinstance(node, Pointwise):
            if node.inputs[0] in memory and _read_by_conv(region, node.name):
                return 1
        elif isinstance(node, Concat):
            return 1
    return c // (LANES * outputs)


def _read_by_conv(region: Region, name: str) -> bool:
    return any(isinstance(reader, Conv) for reader in region.readers[name])


def depthwise(conv: Conv) -> bool:
    """Tell whether each channel is convolved by itself.

    Args:
        conv: Any convolution.

    Returns:
        Whether it has as many groups as outputs, more than one, and one input each.
    """
    return bool(conv.groups > 1 and conv.groups == conv.channels and conv.weight.shape[1] == 1)


def _by_group(conv: Conv, outputs: int) -> bool:
    """Return whether a share of ``outputs`` groups of four lies in one group of the convolution, or is depthwise."""
    if depthwise(conv):
        return True
    each = conv.channels // conv.groups
    return len(conv.inputs) == 1 and conv.weight.shape[1] % LANES == 0 and each % (LANES * outputs) == 0


def outputs_of(region: Region, narrow: int) -> list[int]:
    """List the numbers of groups of four channels that a share may have.

    Args:
        region: The stage; its sources are in memory.
        narrow: Channels that a work-item keeps in registers from a convolution to a 1x1 convolution after it.

    Returns:
        0 (all of them) first, then those that divide the channels, ascending.
    """
    most = max((-(-node.channels // LANES) for node in region.nodes if not isinstance(node, Source)), default=1)
    return [0, *(n for n in range(1, most) if splits_of(region, n, narrow) > 1)]
