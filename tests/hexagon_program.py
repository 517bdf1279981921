"""Programs of small networks for the simulator."""

from __future__ import annotations

from pathlib import Path

from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.runners import hexagon_sim


def built(network: IntegerNetwork, folder: Path, mcpu: str = "hexagonv68", decided=None):
    """The network's program, as a function of a picture and how many bands, by threads or not, it is made in."""
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.targets.hexagon import integer

    folder.mkdir(exist_ok=True)
    integer.build(network, folder, mcpu, {kind: (decisions, "a test") for kind, decisions in (decided or {}).items()})
    facts = integer.Facts.load(folder / integer.FACTS)
    paths = [folder / name for name in (integer.PROGRAM, integer.WEIGHTS, integer.BIASES)]
    return lambda picture, *how: hexagon_sim.simulate(*paths, facts, picture, 120.0, *how)
