"""Decisions about HVX kernels: whatever is decided, the bytes are the definition's; bands and processors as well."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2]))
from hexagon_program import built
from quantize_nets import pictures, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.runners import hexagon_sim

pytest.importorskip("tvm", reason="pip install 'sr-tvm[compile]'")
SIZES = ((3, 31), (2, 130), (9, 5))


@pytest.fixture(scope="module", autouse=True)
def simulator():
    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")


@pytest.fixture(scope="module")
def network():
    return calibrate(wdsr([(24, 20), (24, 20)]), pictures(), Calibration(adapt=False))


@pytest.fixture(scope="module")
def narrow():
    """A network whose blocks end with one and two channels in a group of four."""
    return calibrate(wdsr([(22, 9), (11, 6)]), pictures(), Calibration(adapt=False))


@pytest.fixture(scope="module")
def plain(network, tmp_path_factory):
    """The program as nobody tuned it."""
    return built(network, tmp_path_factory.mktemp("plain"))


def check(run, network, sizes=SIZES, *how):
    rng = np.random.default_rng(0)
    for height, width in sizes:
        picture = rng.integers(0, 256, (3, height, width)).astype(np.uint8)
        assert np.array_equal(run(picture, *how)[0], reference.run(network, picture)), (height, width)


@pytest.mark.parametrize("seed", range(2))
def test_any_decisions_make_the_bytes_of_the_definition(network, tmp_path, seed):
    from sr_tvm.targets.hexagon.hvx.lowering import KernelLowering, kinds

    rng, lowering = Random(seed), KernelLowering(68)
    decided = {kind: lowering.space(stage, (1, None, None)).random(rng) for kind, (stage, _) in kinds(network).items()}
    check(built(network, tmp_path, decided=decided), network)


def test_each_kernel_is_compiled_as_decided_about_it(network, tmp_path):
    """Going down in one kernel and up in another changes the code of these two, and of no other."""
    from sr_tvm.isa.hexagon import assembly, program
    from sr_tvm.targets.hexagon.hvx.decisions import HvxDecisions
    from sr_tvm.targets.hexagon.hvx.lowering import kinds

    names = list(kinds(network))
    chosen = {names[1]: HvxDecisions(direction="down"), names[2]: HvxDecisions(direction="up")}
    texts = []
    for folder, decided in ((tmp_path / "plain", {}), (tmp_path / "decided", chosen)):
        run = built(network, folder, decided=decided)
        found = assembly.functions((folder / program.ASSEMBLY).read_text())
        texts.append({stage.what: _code(stage, found) for stage in program.load(folder)})
    check(run, network)
    changed = {what for what in texts[0] if texts[0][what] != texts[1][what]}
    assert changed == {names[1], names[2]}


def _code(stage, found):
    return [[[i.text for i in p.instructions] for p in found[call.symbol].packets] for call in stage.calls]


def test_the_loops_that_are_explained_are_those_that_run(network, tmp_path):
    """Twice the tiles cost exactly the packets of the turns that are added, stage by stage."""
    from sr_tvm.isa.hexagon import program

    run = built(network, tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (3, 6, 512)).astype(np.uint8)
    once, twice = run(picture[:, :, :256])[1], run(picture)[1]
    rows = [(c, d) for c, d in zip(once, twice, strict=True) if c.macs]
    *stages, last = program.count(tmp_path).stages
    assert [narrow.what for narrow, _ in rows] == [stage.stage.what for stage in (*stages, last)]
    for stage, (narrow, wide) in zip(stages, rows[:-1], strict=True):
        assert wide.packets - narrow.packets == pytest.approx(stage.packets * 8 * 6, rel=0.01), stage.stage.what
    # Copying the result's lines to its planes is the last stage's as well.
    narrow, wide = rows[-1]
    assert 1 <= (wide.packets - narrow.packets) / (last.packets * 8 * 6) < 1.05


def test_kinds_of_a_shuffle_of_three_are_those_that_are_built():
    from sr_tvm.targets.hexagon.hvx.lowering import kinds
    from sr_tvm.targets.hexagon.hvx.stages import grouped, stages

    network = calibrate(wdsr([(8, 4)], scale=3), pictures(), Calibration(adapt=False))
    assert [*kinds(network)] == list(dict.fromkeys(s.kind for s in stages(grouped(network)) if s.kind))
    assert any("3x3" in kind and "->36" in kind for kind in kinds(network))


def test_kernels_that_keep_halfwords_are_another_kind(network):
    from sr_tvm.targets.hexagon.hvx.lowering import kinds

    found = {kind: count for kind, (_, count) in kinds(network).items()}
    assert found["3x3 3->24, halfwords kept"] == 1
    assert found["3x3 20->24 + residual, halfwords kept"] == found["3x3 20->24 + residual"] == 1


def test_what_fills_up_groups_is_hardly_multiplied(narrow, tmp_path):
    """Vectors that are multiplied for a tile, by stage: of the 3x3s 18 and 27 where each row had its own group."""
    from sr_tvm.isa.hexagon import program

    built(narrow, tmp_path)
    found = {}
    for stage in program.count(tmp_path).stages:
        calls = zip(stage.stage.calls, stage.nests, strict=True)
        found[stage.stage.what] = sum(nest.turn[1] / call.tiles for call, nest in calls)
    assert found["1x1 24->22, ReLU, 1x1 22->9"] == 22 * 6 + 6 * 9
    assert found["3x3 9->24 + residual, halfwords kept"] == (2 * 9 + 3) * 24
    assert found["1x1 24->11, ReLU, 1x1 11->6"] == 11 * 6 + 3 * 6
    assert found["3x3 6->24 + residual"] == (9 + 2 * 3) * 24
    assert found["5x5 3->12"] == 5 * 4 * 12


@pytest.mark.parametrize("bands, threads", [(3, False), (4, True)])
def test_bands_where_groups_hold_rows_before(narrow, tmp_path, bands, threads):
    check(built(narrow, tmp_path), narrow, [(9, 33), (14, 130), (2, 7), (64, 20)], bands, threads)


@pytest.mark.parametrize("bands, threads", [(2, False), (4, False), (4, True), (9, True)])
def test_bands_of_rows_are_one_picture(network, plain, bands, threads):
    check(plain, network, [(9, 33), (14, 130), (64, 20), (1, 7)], bands, threads)


def test_bands_need_no_other_rows_than_they_say(network):
    """Rows beyond a band's margins do not change it: those within do."""
    from sr_tvm.targets.hexagon.hvx.driver import margins
    from sr_tvm.targets.hexagon.hvx.stages import stages

    found = stages(network)
    assert margins(found)[-1] == 0
    assert margins(found)[0] == 4  # a 3x3 in front, one in each of two blocks, and one behind


PROCESSORS = [f"hexagonv{v}" for v in (65, 66, 69, 73, 75)]


@pytest.mark.parametrize("mcpu", PROCESSORS)
def test_code_for_each_processor(network, tmp_path, mcpu):
    """All are compiled; the simulator runs integer instructions of all, whichever processor it plays."""
    check(built(network, tmp_path, mcpu), network, [(3, 130)])
    version = mcpu.removeprefix("hexagonv")
    assert f".attribute\t4, {version}" in (tmp_path / "network.s").read_text()


def test_processors_that_are_not_there_are_named():
    from sr_tvm.targets import registry

    with pytest.raises(SrTvmError, match="no processor 'hexagonv60'; there are hexagonv65, hexagonv66"):
        registry.get("hexagon").for_processor("hexagonv60")
    with pytest.raises(SrTvmError, match="target cpu has no --mcpu"):
        registry.get("cpu").for_processor("hexagonv68")


def test_explain_prints_loops_and_their_bound(network, tmp_path):
    import onnx

    from sr_tvm.build.compiler import compile_model
    from sr_tvm.cli.explain import command
    from sr_tvm.quantize.qdq_write import to_onnx

    onnx.save(to_onnx(network, np.zeros(3)), tmp_path / "net.onnx")
    artifact = compile_model(tmp_path / "net.onnx", "hexagon", tmp_path / "dsp")
    assert any("KiB a band" in note for note in artifact.notes)
    done = CliRunner().invoke(command, [str(artifact.folder), "--isa", "hexagon", "--json"], catch_exceptions=False)
    value = json.loads(done.output)
    assert value["how"].startswith("static")
    assert value["bound"] == 256
    assert 0 <= value["stalls_percent"] < 20
    inner = [loop for s in value["stages"] for f in s["functions"] for loop in f["loops"] if loop["depth"] == 2]
    assert inner
    assert all(100 < loop["mac_per_packet"] <= 256 for loop in inner)
    text = CliRunner().invoke(command, [str(artifact.folder), "--isa", "hexagon"], catch_exceptions=False).output
    assert "static" in text
    assert "early sources" in text
    (artifact.folder / "network.s").unlink()
    broken = CliRunner().invoke(command, [str(artifact.folder), "--isa", "hexagon"])
    assert "compile the model again" in str(broken.exception)
