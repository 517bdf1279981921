"""A network compiled at each depth: as many kernels as it says, fewer bytes between them, the same output."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks import models
from benchmarks.engines import library
from benchmarks.latency import depths
from sr_tvm.regions.depths import DEPTHS
from sr_tvm.runners.threads import run_with_threads
from sr_tvm.targets.plain.lowering import PlainLowering


def run_once(folder: Path, x: np.ndarray) -> np.ndarray:
    loaded = library.load("library", folder, 1, x)
    return loaded.output(loaded.call())


def test_the_same_output_at_every_depth(tmp_path: Path) -> None:
    models.prepare("wdsr-2x4", tmp_path, (9, 13))
    x, y = np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")
    found = []
    for depth in DEPTHS:
        found.append(depths.compile_at_depth(tmp_path / "model.onnx", depth, tmp_path / depth, PlainLowering()))
        # In a thread of its own: the pool of this one may have more threads by now.
        output = run_with_threads(1, lambda depth=depth: run_once(tmp_path / depth, x))
        np.testing.assert_allclose(output, y, rtol=0, atol=1e-5)
    pixel = 4 * 9 * 13  # bytes of one channel
    assert [f["kernels"] for f in found] == [9, 7, 5, 1]
    # head 4; of each block 24 + 3 + 4; skip 12.
    assert [f["intermediate_bytes"] // pixel for f in found] == [4 + 2 * 31 + 12, 4 + 2 * 7 + 12, 4 + 2 * 4 + 12, 0]
