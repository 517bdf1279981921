"""The table of one network on every target: what is missing is told with its command, what runs is exact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sr_tvm.demo import every_target
from sr_tvm.frontend.export import export_onnx
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.runners import hexagon_sim


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(WDSR(Architecture.uniform(2, 1, 4)).eval(), path, (1, 3, 16, 24), exporter="torchscript")
    return path


def test_what_is_missing_is_told_with_the_command(onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hexagon_sim.find.cache_clear()
    monkeypatch.setenv("SR_TVM_GPU_ISA", str(tmp_path / "none"))
    monkeypatch.setenv(hexagon_sim.VARIABLE, str(tmp_path / "no-qemu"))
    told: list[str] = []
    rows = list(every_target.rows(onnx, (16, 24), tmp_path, told.append))
    hexagon_sim.find.cache_clear()
    assert [row.target.split()[0] for row in rows] == ["adreno", "mali", "hexagon"] and len(told) == 3
    for row in rows:
        assert row.time == "" and "make system-deps" in row.how and row.seconds < 5


def test_hexagon_is_counted_and_its_time_labelled(onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")
    monkeypatch.setattr(every_target, "GPUS", ())
    (row,) = every_target.rows(onnx, (16, 24), tmp_path, lambda line: None)
    monkeypatch.setattr(every_target, "_row", None)  # not found again
    assert list(every_target.rows(onnx, (16, 24), tmp_path, print)) == [row]
    assert "M packets, estimated" in row.time, row
    assert "every byte that of the definition" in row.how and "estimated, by packets alone" in row.how
