"""The shipped speed models call themselves surrogates, agree with the published totals, never fall as widths grow."""

import json

import pytest
from click.testing import CliRunner

from sr_tvm.cli.speed import command
from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.speed import known
from sr_tvm.speed.model import SURROGATE
from sr_tvm.speed.sample import Sample, input_size

pytest.importorskip("torch")

NAMES = ["galaxy-s10", "galaxy-s10-dsp", "galaxy-s10-dsp-x4", "galaxy-s21"]


def network(depth, channels=24, scale=2):
    return Architecture.uniform(scale, depth, channels)


def predict(name, architecture):
    size = (180, 320) if name.endswith("x4") else (360, 640)
    return known.find(name).predict([Sample(architecture, *size, 1.0)])[0]


def test_all_are_there_and_are_surrogates():
    assert known.names() == NAMES
    for name in NAMES:
        model = known.find(name)
        assert model.source == SURROGATE and not model.ends and model.error < 0.05
        assert "surrogate" in known.caution(model) and "blocks only" in known.caution(model)


@pytest.mark.parametrize(
    ("name", "depth", "published", "off"),
    [
        # The appendix: the DSP's 91K and 37K parameters, stated as 96.34 and 32.51 ms; the S21's 47K within 100 ms.
        ("galaxy-s10-dsp", 8, 96.34, 0.01),
        ("galaxy-s10-dsp", 3, 32.51, 0.12),
        ("galaxy-s21", 4, 97.7, 0.01),
    ],
)
def test_published_totals(name, depth, published, off):
    assert predict(name, network(depth)) == pytest.approx(published, rel=off)


def test_a_network_is_its_blocks():
    for name in NAMES:
        assert predict(name, network(0)) == 0
        assert predict(name, network(6)) == pytest.approx(3 * predict(name, network(2)), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_width_makes_it_faster(name):
    for n in range(4, 32, 3):
        for e, m in ((n, n // 2), (3 * n, n - 1), (6 * n, n)):
            one, *wider = (
                predict(name, Architecture(2, c, (Block(x, y),)))
                for c, x, y in ((n, e, m), (n + 1, e, m), (n, e + 5, m), (n, e, m + 1))
            )
            assert min(wider) >= one


def test_a_file_and_unknown_names(tmp_path):
    path = tmp_path / "mine.json"
    known.find("galaxy-s21").save(path)
    assert known.find(str(path)) == known.find("galaxy-s21")
    with pytest.raises(SrTvmError, match=r"'galaxy-s99'; known are galaxy-s10, .*galaxy-s21, or name a \.json"):
        known.find("galaxy-s99")
    with pytest.raises(SrTvmError, match="no such file"):
        known.find(str(tmp_path / "none.json"))
    for outside in ("../wdsr_x2_37k", "", "."):
        with pytest.raises(SrTvmError, match="no speed model"):
            known.find(outside)


def test_files_from_before_ends_count_them_and_nonsense_is_refused(tmp_path):
    path = tmp_path / "mine.json"
    known.find("galaxy-s21").save(path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "ends": 0}))
    with pytest.raises(SrTvmError, match="field ends is 0; true or false is needed"):
        known.find(str(path))
    del value["ends"]
    path.write_text(json.dumps(value))
    model = known.find(str(path))
    assert model.ends and model.predict([Sample(network(0), 360, 640, 1.0)])[0] > 1


def test_the_command_says_surrogate(tmp_path):
    network(4).save(tmp_path / "a.json")
    args = ["predict", str(tmp_path / "a.json"), "--model", "galaxy-s21", "--input-shape", "1x3x360x640"]
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0 and "a surrogate" in result.stderr and "blocks only" in result.stderr
    told = json.loads(CliRunner().invoke(command, [*args, "--json"]).stdout)
    assert told["source"] == "stand-in" and told["ends"] is False and told["predicted"] == pytest.approx(98, abs=1)


def test_input_sizes_are_of_one_output():
    assert [input_size(scale) for scale in (2, 3, 4)] == [(360, 640), (240, 427), (180, 320)]
