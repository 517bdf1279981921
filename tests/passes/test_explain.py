"""sr-tvm explain, on an ONNX file and on an artifact's folder."""

import json

import pytest

from sr_tvm.cli.main import main
from sr_tvm.nets import registry
from sr_tvm.passes.report import FILE_NAME, PassReport
from sr_tvm.targets.plain.lowering import PlainLowering


def explain(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        main(["explain", *map(str, argv)])
    out = capsys.readouterr()
    return stop.value.code, out.out, out.err


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from sr_tvm.frontend.export import export_onnx

    path = tmp_path_factory.mktemp("explain") / "net.onnx"
    export_onnx(registry.build("wdsr-1x8"), path, (1, 3, 8, 8), dynamic=True)
    return path


def test_table_json_and_folder(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sr_tvm.targets.cpu.host.Cpu.lowering", lambda self, records=None: None)
    code, out, _ = explain(capsys, model, "--input-shape", "1x3x12x10", "--dump", tmp_path / "phases")
    assert code == 0
    assert "many-to-many" in out and "pixel_shuffle" in out and "Kernels: 18 -> 6" in out
    assert len(list((tmp_path / "phases").iterdir())) > 5

    code, out, _ = explain(capsys, model, "--input-shape", "1x3x12x10", "--json")
    report = PassReport.from_json(json.loads(out))
    assert code == 0 and (report.kernels_before, report.kernels_after) == (18, 6)

    report.save(tmp_path / "out" / FILE_NAME)
    code, out, _ = explain(capsys, tmp_path / "out")
    assert code == 0 and "Kernels: 18 -> 6" in out
    code, out, _ = explain(capsys, tmp_path / "out", "--json")
    assert PassReport.from_json(json.loads(out)) == report


def test_streamed_regions(model, capsys, monkeypatch):
    """The rules that made a whole network one kernel, and where the network is not one, what forbade it."""
    monkeypatch.setattr("sr_tvm.targets.cpu.host.Cpu.lowering", lambda self, records=None: PlainLowering())
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = explain(capsys, model, "--input-shape", "1x3x12x10")
    assert code == 0 and "Kernels: 18 -> 1" in out and "-> 0.00 MiB a picture" in out
    assert "16 operators: " in out and "4 conv2d 3x3" not in out and "3 conv2d 3x3" in out
    assert "channel: many-to-many + many-to-many -> T many-to-many" in out
    assert "row, column: halo + halo -> T halo" in out
    code, out, _ = explain(capsys, model)  # for any size
    assert code == 0 and "Kernels: 18 -> 1" in out and "-> 0 bytes a pixel of the input" in out


def test_errors_are_one_line(model, tmp_path, capsys):
    for argv, said in [
        ((tmp_path / "none.onnx",), "no such file"),
        ((tmp_path,), FILE_NAME),
        ((model, "--input-shape", "1x3x8x8", "--target", "toaster"), "unknown target"),
        ((model, "--target", "adreno"), "--input-shape"),
    ]:
        code, out, err = explain(capsys, *argv)
        assert code == 1 and out == "" and said in err and err.count("\n") == 1
