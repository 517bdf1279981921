"""HVX kernels in the simulator: byte by byte what the NumPy definition says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from hexagon_program import built
from quantize_nets import bytes_only, fsrcnn, one_plane, pictures, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.network import IntegerNetwork, QuantizedConvolution
from sr_tvm.runners import hexagon_sim

NETS = {
    "as shipped": (wdsr([(24, 20)]), Calibration(adapt=False)),
    "odd widths": (wdsr([(26, 11), (9, 4)]), Calibration(adapt=False)),
    "groups that hold rows before": (wdsr([(25, 9), (9, 6), (7, 1), (22, 2)]), Calibration(adapt=False)),
    "few channels": (wdsr([(20, 7)], channels=10), Calibration(adapt=False)),
    "multipliers": (wdsr([(20, 20)]), Calibration(multipliers=True, adapt=False)),
    "times four": (wdsr([(16, 12)], scale=4), Calibration(adapt=False)),
    "too wide for registers": (wdsr([(40, 32)], channels=32), Calibration(adapt=False)),
    "bytes on the residual path": (wdsr([(16, 8), (8, 4)]), Calibration(adapt=False, halfwords=False)),
    "one hidden group": (wdsr([(3, 8)]), Calibration(adapt=False)),
    "times three": (wdsr([(8, 5)], channels=8, scale=3), Calibration(adapt=False)),
    "fsrcnn": (fsrcnn(), Calibration(adapt=False)),
    "fsrcnn times three": (fsrcnn(3), Calibration(multipliers=True, adapt=False)),
    "one plane, 3x3": (one_plane(3), Calibration(adapt=False)),
    "one plane, 5x5": (one_plane(5), Calibration(adapt=False)),
    "bytes alone": (bytes_only(), Calibration(adapt=False)),
    "bytes alone, times three": (bytes_only(3), Calibration(adapt=False)),
    "bytes alone, times four": (bytes_only(4), Calibration(adapt=False)),
}
SIZES = ((1, 1), (3, 31), (2, 33), (5, 64), (3, 127), (2, 130), (9, 5))


@pytest.fixture(scope="module", autouse=True)
def simulator():
    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")


@pytest.mark.parametrize("name", NETS)
def test_the_kernels_are_the_definition(name, tmp_path):
    region, how = NETS[name]
    colours = region.sources[0].channels
    network = calibrate(region, [picture[:colours] for picture in pictures()], how)
    run = built(network, tmp_path)
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        picture = rng.integers(0, 256, (colours, height, width)).astype(np.uint8)
        made, counts = run(picture)
        wanted = reference.run(network, picture)
        assert np.array_equal(made, wanted), (height, width, np.argwhere(made != wanted)[:3].tolist())
        assert all(count.packets > 0 for count in counts)
        assert sum(count.macs for count in counts) == network.macs() * height * width


def test_sums_shifted_by_their_own_numbers(tmp_path):
    """Before multipliers, at every end of a convolution: where scales are far apart, see plain.own_shifts."""
    how = Calibration(multipliers=True, adapt=False, halfwords=False)
    network = calibrate(wdsr([(8, 5)], channels=8), pictures(), how)
    nodes = [
        replace(node, before=(np.arange(len(node.bias)) % 4).astype(np.int8))
        if isinstance(node, QuantizedConvolution) and node.multiplier is not None
        else node
        for node in network.nodes
    ]
    assert {node.dtype for node in nodes if getattr(node, "before", None) is not None} == {"uint8", "int16"}
    changed = IntegerNetwork(tuple(nodes), network.shuffle)
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 65)).astype(np.uint8)
    made, _ = built(changed, tmp_path)(picture)
    assert np.array_equal(made, reference.run(changed, picture))
    assert not np.array_equal(made, reference.run(network, picture))


def test_a_crash_in_the_simulator_is_told(tmp_path):
    network = calibrate(wdsr([(8, 4)], channels=8), pictures(), Calibration(adapt=False))
    built(network, tmp_path)
    from sr_tvm.targets.hexagon import integer

    facts = integer.Facts.load(tmp_path / integer.FACTS)
    broken = tmp_path / "none.bin"
    broken.write_bytes(b"")
    paths = (tmp_path / integer.PROGRAM, tmp_path / "missing.bin", broken)
    with pytest.raises(SrTvmError, match="in the simulator crashed: exit code 3"):
        hexagon_sim.simulate(*paths, facts, pictures(1)[0], 60.0)
