"""Training in integers: the module computes what the NumPy definition does, learns, resumes, and writes what it is."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import quantize_nets
import torch
from click.testing import CliRunner
from msgspec import structs

from sr_tvm.cli.train import command
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.integer import IntegerModel, rounded
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.quantize.qdq_write import to_onnx
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.loop import CHECKPOINT, train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import IntegerFile, TrainingSettings

FORMS = {"powers": Calibration(), "multipliers": Calibration(multipliers=True), "bytes": Calibration(halfwords=False)}


@pytest.fixture(scope="session", params=FORMS)
def network(request):
    region = quantize_nets.wdsr([(16, 8), (8, 4)], channels=8)
    return calibrate(region, quantize_nets.pictures(), FORMS[request.param])


@pytest.fixture(scope="session")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("qat") / "int8.onnx"
    onnx.save(to_onnx(network), str(path))
    return path


def enlarged(model, picture):
    with torch.no_grad():
        made = model(torch.from_numpy(picture[None].astype(np.float32) / np.float32(255)))
    return np.floor(made[0].numpy() * 255 + 0.5).astype(np.uint8)


def test_module_is_the_definition(network):
    model = IntegerModel(network)
    for height, width in ((1, 1), (5, 7), (20, 19)):
        picture = np.random.default_rng(height).integers(0, 256, (3, height, width)).astype(np.uint8)
        assert np.array_equal(enlarged(model, picture), reference.run(network, picture))


def test_a_module_with_prelus_is_the_definition():
    region = quantize_nets.fsrcnn(d=8, s=4, m=1)
    network = calibrate(region, [p[:1] for p in quantize_nets.pictures()], Calibration(adapt=False))
    model = IntegerModel(network)
    picture = np.random.default_rng(0).integers(0, 256, (1, 9, 7)).astype(np.uint8)
    assert np.array_equal(enlarged(model, picture), reference.run(network, picture))


def test_moved_weights_are_the_integers_that_are_written(network):
    torch.manual_seed(0)
    model = IntegerModel(network)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.02
    picture = quantize_nets.pictures()[0]
    made = model.integers()
    assert not np.array_equal(made.nodes[1].weight, network.nodes[1].weight)
    assert np.array_equal(enlarged(model, picture), reference.run(made, picture))


def test_unmoved_weights_are_those_that_were_read(network):
    made = IntegerModel(network).integers()
    for one, two in zip(made.nodes, network.nodes, strict=True):
        assert one.name == two.name
        if hasattr(one, "weight"):
            assert np.array_equal(one.weight, two.weight) and np.array_equal(one.bias, two.bias)


def test_rounding_passes_gradients():
    value = torch.tensor([0.5, 0.7, -0.5, 2.49, 1e6 + 0.5], requires_grad=True)
    made = rounded(value)
    made.sum().backward()
    assert made.tolist() == [1, 1, 0, 2, 1_000_001] and value.grad.tolist() == [1] * 5


def test_every_parameter_gets_a_gradient(network):
    model = IntegerModel(network)
    picture = quantize_nets.pictures()[0][None].astype(np.float32) / np.float32(255)
    model(torch.from_numpy(picture)).square().mean().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in model.parameters())


@pytest.fixture
def begin(file, folders, tmp_path):
    def make(**changed):
        wanted = dict(steps=9, batch=2, patch=16, validate_every=4, lr=3e-4, optimizer="adam") | changed
        return prepare(
            TrainingSettings(IntegerFile.of(file), **wanted), [folders[0]], folders[1], "cpu", 1, tmp_path / "c"
        )[0]

    return make


def stop_at(step):
    def report(now):
        if now.step == step:
            raise KeyboardInterrupt

    return report


def test_resumed_run_is_the_same_and_its_file_is_what_was_scored(begin, tmp_path, monkeypatch):
    whole = begin()
    train(whole, tmp_path / "whole", lambda now: None)
    monkeypatch.setattr("sr_tvm.training.loop.CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path / "parts", stop_at(5))
    resumed = begin()
    resumed.restore(tmp_path / "parts" / CHECKPOINT)
    train(resumed, tmp_path / "parts", lambda now: None)
    assert (tmp_path / "whole/model.onnx").read_bytes() == (tmp_path / "parts/model.onnx").read_bytes()
    made = from_onnx(tmp_path / "whole/model.onnx")
    picture = quantize_nets.pictures()[0]
    assert np.array_equal(enlarged(whole.average, picture), reference.run(made, picture))
    rows = json.loads((tmp_path / "whole/history.json").read_text())
    assert rows["run"]["architecture"]["integers"] == "int8.onnx"
    assert whole.validate(IntegerModel(made)) == rows["rows"][-1]["psnr"]


def test_it_learns(begin):
    trainer = begin(steps=60, lr=1e-2, validate_every=10, ema=0.9)
    losses = [trainer.advance().loss for _ in range(60)]
    assert losses[-1] < losses[9] / 1.2


@pytest.mark.parametrize("changed, told", [
    (dict(branches="sum"), "branches is sum"),
    (dict(precision="bfloat16"), "precision is bfloat16"),
    (dict(optimizer="muon"), "optimizer is muon"),
])  # fmt: skip
def test_what_integers_cannot_be_asked(begin, changed, told):
    with pytest.raises(SrTvmError, match=f"{told}; a network in integers allows only"):
        begin(**changed)


def test_other_files_are_refused(file, folders, tmp_path):
    plain = quantize_nets.wdsr([(8, 4)], channels=4, scale=1)
    onnx.save(to_onnx(calibrate(plain, quantize_nets.pictures())), str(tmp_path / "same_size.onnx"))
    with pytest.raises(SrTvmError, match="only networks that enlarge RGB"):
        IntegerFile.of(tmp_path / "same_size.onnx")
    with pytest.raises(SrTvmError, match=r"none.onnx: no such file"):
        IntegerFile.of(tmp_path / "none.onnx")

    def asked(*words):
        return CliRunner().invoke(command, ["--data", str(folders[0]), "-o", str(tmp_path / "run"), *words])

    assert "one of the two is needed" in asked().output
    assert "one of the two is needed" in asked("--qat", str(file), "--arch", "wdsr-1x4").output
    assert "its scale is 2, but --scale is 3" in str(asked("--qat", str(file), "--scale", "3").exception)


def test_command(file, folders, tmp_path):
    out = tmp_path / "run"
    line = ["--qat", file, "--data", folders[0], "--validate", folders[1], "--steps", 3, "--patch", 16, "-o", out]
    done = CliRunner().invoke(command, [str(word) for word in [*line, "--cache", tmp_path / "c", "--threads", 1]])
    assert done.exit_code == 0, done.output
    assert "sr-tvm compile" in done.output and from_onnx(out / "model.onnx").shuffle == 2
    assert json.loads((out / "history.json").read_text())["run"]["lr"] == 2e-5


def test_a_checkpoint_of_floats_is_another_run(begin, folders, tmp_path):
    float_run = TrainingSettings(Architecture.uniform(2, 1, 4), steps=9, batch=2, patch=16, validate_every=4)
    prepare(float_run, [folders[0]], None, "cpu", 1, tmp_path / "c")[0].save(tmp_path / CHECKPOINT)
    with pytest.raises(SrTvmError, match="another architecture"):
        begin().restore(tmp_path / CHECKPOINT)


def test_another_file_of_that_name_is_another_run(begin, file):
    trainer = begin()
    changed = structs.replace(trainer.settings, architecture=replace(trainer.settings.architecture, digest="0" * 16))
    assert changed.to_json() != trainer.settings.to_json()
