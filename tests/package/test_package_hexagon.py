"""Packages for Hexagon, called from C in the simulator: byte by byte what the NumPy definition says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from click.testing import CliRunner
from package_compilers import HERE, STRICT, ZIG, defines, run, static
from quantize_nets import MEANS, fsrcnn, pictures, wdsr

from sr_tvm.cli import main
from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import planes as upscaling
from sr_tvm.package.interface import FORMATS, HEXAGON_FUNCTIONS, HEXAGON_STATUSES
from sr_tvm.package.record import Package
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners import hexagon_sim

TARGET = ("-target", "hexagon-linux-musl", "-mcpu=hexagonv65")  # as the package's own C
CODES = {name: code for code, (name, _) in enumerate(HEXAGON_STATUSES)}
FORMAT = {name: code for code, (name, _) in enumerate(FORMATS, 1)}
SIZES = ((1, 1), (3, 31), (2, 33), (7, 127), (9, 130))
GUARD = 0x5A


@dataclass(frozen=True)
class Built:
    """A network, its package, and the program of tests that is linked with it."""

    network: IntegerNetwork
    artifact: Artifact
    package: Package
    program: Path
    scratch: Path

    @property
    def scale(self) -> int:
        return self.network.shuffle

    def call(self, *arguments: object) -> str:
        return run(*simulator(), self.program, *arguments)

    def planes(self, picture: np.ndarray, bands: int = 1) -> np.ndarray:
        channels, height, width = picture.shape
        given, made = self.scratch / "in", self.scratch / "out"
        picture.tofile(given)
        self.call("planes", given, made, height, width, bands)
        return np.fromfile(made, np.uint8).reshape(channels, height * self.scale, width * self.scale)

    def pixels(self, picture: np.ndarray, kind: str, more_in: int = 0, more_out: int = 0) -> np.ndarray:
        """Give pixels (H, W, C); rows have so many bytes more, which must stay as they are."""
        height, width, size = picture.shape
        rows = np.full((height, width * size + more_in), 99, np.uint8)
        rows[:, : width * size] = picture.reshape(height, -1)
        given, made = self.scratch / "in", self.scratch / "out"
        rows.tofile(given)
        line = width * size * self.scale
        self.call("u8", given, made, height, width, FORMAT[kind], rows.shape[1], line + more_out)
        found = np.fromfile(made, np.uint8).reshape(height * self.scale, line + more_out)
        assert (found[:, line:] == GUARD).all()
        return found[:, :line].reshape(height * self.scale, width * self.scale, size)


def simulator() -> list[str]:
    found = hexagon_sim.find()
    return [found.path, "-cpu", found.cpu]


def _compiled(folder: Path, network: IntegerNetwork, name: str) -> Artifact:
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.quantize.qdq_write import to_onnx

    model = folder / f"{name}.onnx"
    channels = network.channels(network.picture.name)
    onnx.save(to_onnx(network, np.array(MEANS[:channels])), str(model))
    return compile_model(model, "hexagon", folder / f"{name}-artifact")


def _built(folder: Path, network: IntegerNetwork, name: str) -> Built:
    from sr_tvm.package.write import write_package

    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")
    pytest.importorskip("ziglang")
    artifact = _compiled(folder, network, name)
    package = write_package(artifact, folder / f"{name}-c", name)
    program = folder / f"{name}-tests"
    include = (*defines(name), f"-I{package.folder / 'include'}")
    run(*ZIG, *TARGET, *STRICT, "-O2", "-static", *include, HERE / "hexagon.c", static(package), "-o", program)
    same = from_onnx(folder / f"{name}.onnx")
    return Built(same, artifact, package, program, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hexagon")


@pytest.fixture(scope="module")
def tiny(folder) -> Built:
    return _built(folder, calibrate(wdsr([(16, 12)], channels=8), pictures(), Calibration(adapt=False)), "tiny")


@pytest.fixture(scope="module")
def luma(folder) -> Built:
    one = [picture[:1] for picture in pictures()]
    return _built(folder, calibrate(fsrcnn(3), one, Calibration(adapt=False)), "luma3")


def _noise(channels: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (channels, height, width)).astype(np.uint8)


@pytest.mark.parametrize("height, width", SIZES)
def test_planes_are_the_definition(tiny, height, width):
    picture = _noise(3, height, width)
    wanted = reference.run(tiny.network, picture)
    assert np.array_equal(tiny.planes(picture), wanted)
    for bands in {min(3, height), min(7, height)} - {1}:
        assert np.array_equal(tiny.planes(picture, bands), wanted), bands


@pytest.mark.parametrize("kind, order", [("RGB", (0, 1, 2)), ("BGR", (2, 1, 0))])
def test_pixels_are_the_planes(tiny, kind, order):
    for (height, width), more in (((5, 37), (0, 0)), ((4, 131), (5, 7))):
        picture = _noise(3, height, width)
        wanted = reference.run(tiny.network, picture)
        made = tiny.pixels(np.ascontiguousarray(picture[list(order)].transpose(1, 2, 0)), kind, *more)
        assert np.array_equal(made[..., list(order)].transpose(2, 0, 1), wanted)


@pytest.mark.parametrize("kind, order", [("RGBA", (0, 1, 2)), ("BGRA", (2, 1, 0))])
def test_alpha_is_enlarged_as_upscale_does_it(tiny, kind, order):
    pixels = np.ascontiguousarray(_noise(4, 11, 37).transpose(1, 2, 0))
    pixels[6:, 20:, 3] = 255
    made = tiny.pixels(pixels, kind, 3, 2)
    colour = np.ascontiguousarray(pixels[..., list(order)].transpose(2, 0, 1))
    assert np.array_equal(made[..., list(order)].transpose(2, 0, 1), reference.run(tiny.network, colour))
    alpha = upscaling.bicubic(upscaling.to_float(pixels[..., 3:]), tiny.scale)
    assert np.array_equal(made[..., 3:], upscaling.to_pixels(alpha, np.uint8))
    assert (made[16:, 46:, 3] == 255).all()


def test_luma_networks_take_grey(luma):
    picture = _noise(1, 8, 131)
    picture[0, 0, :2] = 0, 255
    assert np.array_equal(luma.planes(picture, 3), reference.run(luma.network, picture))
    into = np.floor(picture.astype(float) * 219 / 255 + 16.5).astype(np.uint8)
    wanted = reference.run(luma.network, into)
    out = np.clip(np.floor((wanted.astype(float) - 16) * 255 / 219 + 0.5), 0, 255).astype(np.uint8)
    assert np.array_equal(luma.pixels(picture.transpose(1, 2, 0), "GREY", 1, 1).transpose(2, 0, 1), out)


REFUSED = {
    "size-null": "NULL", "size-height": "SIZE", "size-width": "SIZE", "size-large": "SIZE", "size-largest": "SIZE",
    "size-use": "USE", "size-use-3": "USE", "properties-null": "NULL", "planes-in": "NULL", "planes-out": "NULL",
    "planes-workspace": "NULL", "planes-height": "SIZE", "planes-width": "SIZE", "planes-large": "SIZE",
    "planes-first": "ROWS", "planes-end": "ROWS", "planes-order": "ROWS", "planes-no-rows": "ROWS",
    "planes-small": "WORKSPACE_SIZE", "planes-skew": "WORKSPACE_ALIGNMENT", "planes-overlap": "OVERLAP",
    "planes-overlap-workspace": "OVERLAP", "u8-in": "NULL", "u8-out": "NULL", "u8-workspace": "NULL",
    "u8-height": "SIZE", "u8-width": "SIZE", "u8-format": "FORMAT", "u8-format-6": "FORMAT",
    "u8-format-other": "FORMAT", "u8-stride": "STRIDE", "u8-stride-out": "STRIDE", "u8-stride-large": "SIZE",
    "u8-small": "WORKSPACE_SIZE", "u8-skew": "WORKSPACE_ALIGNMENT", "u8-overlap": "OVERLAP",
}  # fmt: skip


@pytest.mark.parametrize("which", ["tiny", "luma"])
def test_bad_arguments_have_a_code_each_and_write_nothing(request, which):
    built = request.getfixturevalue(which)
    *lines, last, properties = built.call("refuse").splitlines()
    assert last == "properties 0"
    said = dict(line.split() for line in lines)
    assert said == {what: str(CODES[f"ERROR_{name}"]) for what, name in REFUSED.items()}
    package = built.package
    facts = f"1 {package.scale} {package.halo} {package.channels} 128 {package.weight_bytes}"
    assert properties == f"{facts} {package.name}.onnx hexagon 1 no such code"


def test_the_library_needs_two_functions_of_c(tiny, tmp_path):
    """Whatever is linked with it, from QuRT to nothing at all."""
    calls = " ".join(f"(void)tiny_{name};" for name in HEXAGON_FUNCTIONS)
    source = tmp_path / "alone.c"
    source.write_text(
        f'#include "tiny.h"\nvoid *memcpy(void *to, const void *from, size_t n) {{ (void)from, (void)n; return to; }}\n'
        "void *memset(void *to, int byte, size_t n) { (void)byte, (void)n; return to; }\n"
        f"void *volatile kept[] = {{ {', '.join(f'(void *)tiny_{name}' for name in HEXAGON_FUNCTIONS)} }};\n"
        f"void _start(void) {{ {calls} kept[0] = 0; }}\n"
    )
    include = f"-I{tiny.package.folder / 'include'}"
    alone = ("-nostdlib", "-static", "-O1", "-fno-builtin")
    run(*ZIG, *TARGET, *alone, include, source, static(tiny.package), "-o", tmp_path / "alone")


def test_two_networks_are_in_one_program(tiny, luma, tmp_path):
    source = tmp_path / "both.c"
    source.write_text(
        '#include <stdio.h>\n#include "tiny.h"\n#include "luma3.h"\nint main(void) {\n'
        "  size_t a, b;\n  if (tiny_workspace_bytes(9, 640, TINY_PLANES, &a)) return 1;\n"
        '  if (luma3_workspace_bytes(9, 640, LUMA3_PLANES, &b)) return 1;\n  printf("%zu %zu", a, b);\n  return 0;\n}\n'
    )
    folders = [f"-I{built.package.folder / 'include'}" for built in (tiny, luma)]
    libraries = [static(built.package) for built in (tiny, luma)]
    run(*ZIG, *TARGET, *STRICT, "-static", *folders, source, *libraries, "-o", tmp_path / "both")
    wanted = [hexagon_sim.facts_of(built.artifact).workspace(640) + 128 for built in (tiny, luma)]
    assert run(*simulator(), tmp_path / "both").split() == [str(n) for n in wanted]


def test_the_example_enlarges_a_file(tiny, tmp_path):
    picture = _noise(3, 6, 35)
    given, made, program = (tmp_path / name for name in ("in.ppm", "out.ppm", "example"))
    given.write_bytes(b"P6\n35 6\n255\n" + picture.transpose(1, 2, 0).tobytes())
    source, include = tiny.package.folder / "example" / "example.c", tiny.package.folder / "include"
    run(*ZIG, *TARGET, *STRICT, "-static", f"-I{include}", source, static(tiny.package), "-o", program)
    run(*simulator(), program, given, made)
    wanted = reference.run(tiny.network, picture).transpose(1, 2, 0)
    assert made.read_bytes() == b"P6\n70 12\n255\n" + wanted.tobytes()
    given.write_bytes(b"P6\n35 6\n255\n" + bytes(100))
    done = subprocess.run([*simulator(), str(program), str(given), str(made)], capture_output=True, text=True)
    assert done.returncode == 1 and "ends too early" in done.stderr


def test_the_bench_program_checks_and_counts(tiny):
    value = json.loads(run(*simulator(), tiny.package.bench, "--height", 7, "--width", 130, "--bands", 2))
    assert value["simulated"] is True and value["unit"] == "packets" and value["error"] is None
    assert (value["height"], value["width"], value["bands"], value["replays"]) == (7, 130, 2, 3)
    assert value["model_sha256"] == tiny.artifact.model_sha256
    assert value["packets"] == sum(stage["packets"] for stage in value["stages"]) > 0
    assert value["packets_per_pixel"] == pytest.approx(value["packets"] / (7 * 130), abs=0.01)
    facts = hexagon_sim.facts_of(tiny.artifact)
    assert [stage["what"] for stage in value["stages"]] == [*(what for what, _ in facts.stages), "between stages"]
    assert all(stage["hvx"] > 0 for stage in value["stages"][:-1])
    assert value["workspace_bytes"] == facts.workspace(130) + 128


def test_the_bench_program_sees_damaged_weights(tiny, tmp_path):
    weights = (tiny.artifact.folder / "weights.bin").read_bytes()
    program = bytearray(tiny.package.bench.read_bytes())
    place = program.find(weights)
    assert place > 0
    for i in range(len(weights)):
        program[place + i] ^= 0x10
    damaged = tmp_path / "damaged"
    damaged.write_bytes(program)
    damaged.chmod(0o755)
    done = subprocess.run([*simulator(), str(damaged)], capture_output=True, text=True)
    assert done.returncode == 1 and "not that of its definition" in json.loads(done.stdout)["error"]


def test_bench_counts_as_the_artifact_does(tiny):
    options = ["--input-shape", "1x3x9x140", "--json"]
    values = []
    for folder in (tiny.package.folder, tiny.artifact.folder):
        done = CliRunner().invoke(main.cli, ["bench", str(folder), *options])
        assert done.exit_code == 0, done.output
        values.append(json.loads(done.stdout)["measurement"])
    packets = [value["samples"][0] for value in values]
    assert values[0]["unit"] == "packets" and values[0]["conditions"]["simulated"] is True
    assert packets[0] == pytest.approx(packets[1], rel=0.02)  # the same kernels, each in its own frame


def test_the_folder_says_what_it_is(tiny):
    package = Package.load(tiny.package.folder)
    assert (package.target, package.machine, package.scale, package.channels) == ("hexagon", "hexagon", 2, 3)
    readme = (package.folder / "README.md").read_text()
    assert "has not run on a DSP" in readme and re.search(r"[\d.]+ packets a pixel of the input, counted", readme)
    facts = hexagon_sim.facts_of(tiny.artifact)
    assert all(f"| {width} | {facts.workspace(width) + 128} |" in readme for width in (640, 1280))
    assert set(package.files) >= {"lib/libtiny.a", "include/tiny.h", "bin/tiny-bench", "licences/sr-tvm.txt"}
    assert not list(package.folder.rglob("*.so"))


@pytest.mark.parametrize("which, halo", [("tiny", 3), ("luma", 6)])
def test_the_halo_is_how_far_pixels_are_seen(request, which, halo):
    built = request.getfixturevalue(which)
    height, width, at, scale = 30, 40, (15, 20), built.scale
    one = np.full((built.package.channels, height, width), 128, np.uint8)
    seen = np.zeros((height, width), bool)
    for value in (0, 255):
        other = one.copy()
        other[:, at[0], at[1]] = value
        apart = (reference.run(built.network, one) != reference.run(built.network, other)).any(0)
        seen |= apart.reshape(height, scale, width, scale).any((1, 3))
    rows, columns = np.nonzero(seen)
    assert 0 < max(abs(rows - at[0]).max(), abs(columns - at[1]).max()) <= built.package.halo == halo


def test_the_command_and_what_it_refuses(tiny, tmp_path):
    made = ["-o", str(tmp_path / "c"), "--name", "x"]
    done = CliRunner().invoke(main.cli, ["package", str(tiny.artifact.folder), *made])
    assert done.exit_code == 0 and "libx.a" in done.output, done.output
    refused = [
        (["--format", "android"], "is for hexagon, a DSP that no app loads from an archive: use --format c"),
        (["--fallback", str(tiny.artifact.folder)], "--fallback is for packages of OpenCL artifacts"),
    ]
    for options, words in refused:
        out = tmp_path / "no"
        done = CliRunner().invoke(main.cli, ["package", str(tiny.artifact.folder), "-o", str(out), *options])
        assert isinstance(done.exception, SrTvmError) and words in str(done.exception)
        assert "\n" not in str(done.exception)
        assert not out.exists()


def test_scores_are_told_of_shipped_networks_only():
    from sr_tvm.package.hexagon import known_scores
    from sr_tvm.system.files import sha256

    shipped = Path(__file__).parents[2] / "models" / "int8" / "wdsr_x2_37k.onnx"
    assert {row["pictures"] for row in known_scores(sha256(shipped))} == {"Set5", "Set14", "B100"}
    assert known_scores("0" * 64) == []


def test_artifacts_that_lack_something_are_refused(tiny, tmp_path):
    import shutil

    from sr_tvm.package.write import write_package

    for name, words in (("hexagon.json", "but of floats"), ("reference.npz", "compile the model again")):
        folder = tmp_path / name
        shutil.copytree(tiny.artifact.folder, folder)
        (folder / name).unlink()
        with pytest.raises(SrTvmError, match=words):
            write_package(Artifact.load(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_that_computes_something_else_is_not_written(tiny, tmp_path):
    import shutil

    from sr_tvm.package.write import write_package

    folder = tmp_path / "damaged"
    shutil.copytree(tiny.artifact.folder, folder)
    weights = np.fromfile(folder / "weights.bin", np.uint8)
    (weights ^ 0x10).tofile(folder / "weights.bin")
    with pytest.raises(SrTvmError, match="the result is not that of its definition"):
        write_package(Artifact.load(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
