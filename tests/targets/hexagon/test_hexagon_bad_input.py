"""What goes wrong with Hexagon, told in a line: pictures, tools that are not there, memory, crashes, time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
from quantize_nets import pictures, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.qdq_write import to_onnx
from sr_tvm.runners import hexagon_sim
from sr_tvm.runners.base import SessionLost
from sr_tvm.targets import link
from sr_tvm.targets.hexagon import estimate

SHIPPED = Path(__file__).parents[3] / "models" / "wdsr_x2_s21_40ms.onnx"
WHY = hexagon_sim.missing()
needs_simulator = pytest.mark.skipif(WHY is not None, reason=f"make system-deps ({WHY})")


def quantize(folder: Path, out: Path, *options: str):
    from sr_tvm.cli.quantize import command

    return CliRunner().invoke(command, [str(SHIPPED), "--data", str(folder), "-o", str(out), *options])


class TestCalibrationFolders:
    def test_one_picture_works_and_warns(self, tmp_path):
        folder = tmp_path / "one"
        folder.mkdir()
        Image.fromarray(pictures(1, 48)[0].transpose(1, 2, 0)).save(folder / "a.png")
        done = quantize(folder, tmp_path / "q.onnx", "--json")
        assert done.exit_code == 0, done.output
        assert [line[:31] for line in json.loads(done.stdout)["warnings"]] == ["calibrated with 1 picture alone"]
        assert "warning: calibrated with 1 picture" in done.stderr and (tmp_path / "q.onnx").is_file()

    def test_none_is_refused(self, tmp_path):
        (tmp_path / "none").mkdir()
        done = quantize(tmp_path / "none", tmp_path / "q.onnx")
        assert isinstance(done.exception, SrTvmError) and "none: no picture in it" in str(done.exception)
        assert not (tmp_path / "q.onnx").exists()

    @pytest.mark.parametrize(("side", "said"), [(64, "of a single colour each"), (1, "too small to be shrunk 2 times")])
    def test_black_ones_and_tiny_ones_are_refused(self, tmp_path, side, said):
        (tmp_path / "some").mkdir()
        for i in range(5):
            Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / "some" / f"{i}.png")
        done = quantize(tmp_path / "some", tmp_path / "q.onnx")
        assert isinstance(done.exception, SrTvmError) and said in str(done.exception)


class TestMissingTools:
    def test_the_simulator(self, monkeypatch, tmp_path):
        hexagon_sim.find.cache_clear()
        monkeypatch.delenv(hexagon_sim.VARIABLE, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        said = hexagon_sim.missing()
        monkeypatch.setenv(hexagon_sim.VARIABLE, str(tmp_path / "no"))
        other = hexagon_sim.missing()
        hexagon_sim.find.cache_clear()
        for line in (said, other):
            assert line is not None and "make system-deps" in line and "\n" not in line

    def test_zig(self, monkeypatch, tmp_path):
        monkeypatch.setattr(link.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(SrTvmError, match=r"install the Python package 'ziglang' \(pip install"):
            link.program(tmp_path / "p", [], "hexagon-linux-musl")


@needs_simulator
class TestPrograms:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory) -> Path:
        from sr_tvm.build.compiler import compile_model

        folder = tmp_path_factory.mktemp("dsp")
        network = calibrate(wdsr([(8, 4)], channels=8), pictures(), Calibration(adapt=False))
        onnx.save(to_onnx(network), folder / "q.onnx")
        compile_model(folder / "q.onnx", "hexagon", folder / "out")
        return folder / "out"

    def parts(self, folder: Path):
        from sr_tvm.targets.hexagon import integer

        paths = [folder / name for name in (integer.PROGRAM, integer.WEIGHTS, integer.BIASES)]
        return paths, integer.Facts.load(folder / integer.FACTS)

    def test_a_crash_tells_signal_and_stage(self, folder):
        paths, facts = self.parts(folder)
        small = replace(facts, memory=replace(facts.memory, rows=0))
        told = "in the simulator crashed: signal SIG[A-Z]+: (in stage [0-9], [0-9]|between stages)"
        with pytest.raises(SessionLost, match=told):
            hexagon_sim.simulate(*paths, small, np.zeros((3, 4, 20_000), np.uint8), 60.0)

    def test_a_stage_is_told_by_its_words(self, folder):
        facts = self.parts(folder)[1]
        told = hexagon_sim._words("what else\nsr_run: in stage 1\n", facts)
        assert told == f"in stage 1, {facts.stages[1][0]}" and "3x3" in told
        assert hexagon_sim._words("sr_run: in stage -1", facts) == "between stages"

    def test_writing_beyond_the_memory_is_seen(self, folder):
        paths, facts = self.parts(folder)
        small = replace(facts, memory=replace(facts.memory, rows=0))
        with pytest.raises(SessionLost, match="crashed: exit code 3: sr_run: the network writes beyond its memory"):
            hexagon_sim.simulate(*paths, small, np.zeros((3, 4, 500), np.uint8), 60.0)

    def test_what_takes_too_long_ends(self, folder):
        paths, facts = self.parts(folder)
        with pytest.raises(SessionLost, match="did not finish within 0.05 s.*; try a smaller picture"):
            hexagon_sim.simulate(*paths, facts, np.zeros((3, 400, 400), np.uint8), 0.05)

    def bench(self, folder: Path, *options: str):
        from sr_tvm.cli.bench import command

        return CliRunner().invoke(command, [str(folder), "--input-shape", "1x3x8x64", *options])

    def test_buffers_beyond_the_memory_are_refused(self, folder):
        assert self.bench(folder, "--memory", "1000").exit_code == 0
        done = self.bench(folder, "--memory", "10")
        assert isinstance(done.exception, SrTvmError)
        assert "for pictures 64 wide, 10,240 are allowed; narrower pictures need less" in str(done.exception)

    def test_milliseconds_are_labelled_as_an_estimate(self, folder):
        done = self.bench(folder)
        (line,) = [line for line in done.stdout.splitlines() if " ms" in line]
        assert line.startswith("estimated, by packets alone: ") and "assumed, not measured" in line
        measured = json.loads(self.bench(folder, "--json").stdout)["measurement"]
        found, packets = measured["conditions"]["estimate"], measured["samples"][0]
        assert measured["unit"] == "packets"
        assert found["ms"] == pytest.approx(packets * 2 / 1.4e9 / 3.2 * 1e3)
        assert found["low_ms"] < found["ms"] < found["high_ms"]


def test_every_assumption_has_a_source_and_bounds():
    for name in estimate.names():
        dsp = estimate.get(name)
        for given in (dsp.clock_hz, dsp.contexts, dsp.cycles_per_packet, dsp.scaling):
            assert given.low <= given.value <= given.high and len(given.source) > 20
    assert 14 < estimate.get().ms(34.58e6) < 17  # what the project's notes say of the 37K net
    with pytest.raises(SrTvmError, match="unknown DSP 'dsp'; known are snapdragon-888"):
        estimate.get("dsp")
