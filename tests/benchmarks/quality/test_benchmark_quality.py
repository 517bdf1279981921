"""The quality benchmark on made-up scores and on pictures of a few pixels; what is published of it agrees."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

pytest.importorskip("torch")

from benchmarks import common
from benchmarks.quality import quality, quality_figure, quality_goals, quality_readme, quality_rows
from recipes import recipe, ship
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files
from sr_tvm.training.settings import TrainingSettings

SETS = quality_rows.SETS
IMAGES = dict(zip(SETS, (5, 14, 100), strict=True))


def rows(model, psnr, params=100, ms=None, shipped=True, role="searched", scale=2):
    """A model's rows with ``psnr`` on the three sets."""
    one = {"model": model, "scale": scale, "role": role, "params": params, "macs": 10**9, "shipped": shipped}
    one |= {"predicted_ms": ms or {}, "weights": "w" + model, "trained": "searched 5 steps", "published": None}
    return [one | {"set": s, "images": IMAGES[s], "psnr_y": p, "ssim_y": 0.9} for s, p in zip(SETS, psnr, strict=True)]


def test_the_mean_is_over_pictures():
    found = quality_goals.by_model(rows("a", (40, 30, 20)) + rows("b", (40, 30, 20))[:2])
    assert found.keys() == {"a"}
    assert found["a"]["psnr"] == {"Set5": 40, "Set14": 30, "B100": 20, "all pictures": 2620 / 119}


def test_goals():
    limit = Architecture.uniform(2, 3, 24).params
    assert limit == 36720
    made = rows("small", (37.34, 33.02, 31.77), limit) + rows("larger", (37.5, 33.2, 31.9), limit + 1)
    made += rows("better", (39, 39, 39), limit, shipped=False) + rows("x4", (31.98, 28.53, 27.57), 9, scale=4,
                                                                      ms={"galaxy-s21": 69.9})  # fmt: skip
    made += rows("slow", (39, 39, 39), 10**6, {"galaxy-s21": 100.1}) + rows("fast", (37, 33, 31), 10**6,
                                                                            {"galaxy-s21": 99.9})  # fmt: skip
    found = {g["goal"]: g for g in quality_goals.reached(quality_goals.by_model(made))}
    dsp = found["DSP, 37K parameters"]
    assert dsp["best"] == "small" and dsp["at_most"] == {"params": limit}
    assert dsp["difference"] == {"Set5": 0.0, "Set14": 0.11, "B100": 0.1}
    assert dsp["all_reached"] and not dsp["better_by_a_tenth"]
    assert found["DSP, 69K parameters"]["best"] == "larger" and not found["DSP, 69K parameters"]["reached"]["Set5"]
    assert found["S21 GPU, 100 ms, x2"]["best"] == "fast" and not found["S21 GPU, 100 ms, x2"]["all_reached"]
    x4 = found["S21 GPU, 70 ms, x4"]
    assert x4["best"] == "x4" and x4["better_by_a_tenth"]
    assert "extrapolated" in x4["note"] and not any(g["note"] for g in found.values() if g is not x4)
    nothing = quality_goals.reached({})
    assert len(nothing) == 5 and not any(g["all_reached"] or g["best"] for g in nothing)
    assert quality_readme.goals(nothing).count("| none |  |") == len(nothing)


def test_searched_against_plain():
    one, other = recipe.TARGETS[0], recipe.TARGETS[6]
    assert other.plain_name == "wdsr_x2_8x24"
    made = rows(one.name, (38, 33, 32), 47, {"galaxy-s21": 97.0})
    made += rows(one.plain_name, (38.1, 33.2, 31.9), 48, {"galaxy-s21": 98.0}, shipped=False, role="plain")
    made += rows(other.name, (38, 33, 32), 47, {"galaxy-s10-dsp": 96.9})
    made += rows(recipe.TARGETS[1].name, (38, 33, 32), 47, {"galaxy-s21": 70.1})
    found = quality_goals.against_plain(quality_goals.by_model(made))
    first, second = found[0], found[6]
    assert first["difference"] == {"Set5": -0.1, "Set14": -0.2, "B100": 0.1, "all pictures": 0.056}
    assert first["better"] and first["clear"] and first["within_3_percent"]
    assert first["params"] == [47, 48] and first["predicted_ms"] == [97.0, 98.0]
    assert first["of_budget"] == [0.97, 0.98] and first["train_macs"] == [None, None]  # rows without it
    assert found[1]["within_3_percent"] is False and found[2]["within_3_percent"] is None
    assert second["better"] is None and second["difference"] is None and not second["within_3_percent"]
    assert second["of_budget"] == [0.969, None] and second["clear"] is None
    told = quality.summarize(made, [])
    assert told["inside"] == "1 of 3" and told["searched_better"] == told["searched_clearly_better"] == "1 of 1"


def test_a_small_difference_is_not_clear():
    one = recipe.TARGETS[0]
    for difference, clear in ((0.031, True), (0.029, False), (-0.1, False)):
        made = rows(one.name, (38, 33, 32)) + rows(one.plain_name, [p - difference for p in (38, 33, 32)])
        found = quality_goals.against_plain(quality_goals.by_model(made))[0]
        assert found["clear"] == clear and found["better"] == (difference > 0)


def test_what_a_training_computed():
    small, large = Architecture.uniform(2, 1, 4), Architecture.uniform(2, 2, 8)
    made = history("a", "plain", None)
    assert quality_rows.train_macs(made) == 3 * 4 * 32**2 * 10 * ARCHITECTURE.macs(1, 1)
    search = {"run": {"width_steps": 3, "depth_steps": 6, "batch": 2, "patch": 16, "supernet": large.to_json()}}
    searched = history("a", "searched", None, search=search)
    run = searched["training"]["run"]
    run["architecture"] = small.to_json()
    expected = 3 * 2 * 16**2 * 9 * large.macs(1, 1) + 3 * 4 * 32**2 * 10 * small.macs(1, 1)
    assert quality_rows.train_macs(searched) == expected
    search["run"]["race_steps"] = 7
    assert quality_rows.train_macs(searched) == expected + 3 * 2 * 16**2 * 7 * small.macs(1, 1)


@pytest.mark.parametrize("late", [{}, {"late_patch": 48}, {"late_patch": 200, "late_share": 0.35}])
def test_what_a_training_saw(late):
    settings = TrainingSettings(ARCHITECTURE, steps=33, **late)
    assert quality_rows.seen(settings.to_json()) == settings.pixels
    assert quality_rows.seen({"steps": 10, "batch": 4, "patch": 32}) == 40960  # of before there were late patches


def test_the_readme_tells_what_was_seen_where_it_is_known():
    made = [r | {"shipped": True} for r in rows("a", (38, 33, 32)) + rows("b", (37, 32, 31))]
    assert "seen" not in quality_readme.table(made)
    spent = {"minutes": 61.7, "device": "a CPU"}
    made = [r | {"seen_pixels": 45_000_000, "spent": spent if r["model"] == "a" else None} for r in made]
    lines = quality_readme.table(made).splitlines()
    assert lines[0].endswith("| how | LR pixels seen | minutes |")
    assert lines[2].endswith("| 45 M | 62 of a CPU |") and lines[3].endswith("| 45 M |  |")


def test_ten_times_the_steps():
    def told(*psnr):
        made = [("wdsr_x2_37k_hundredth", "scaled"), ("wdsr_x2_37k_tenth", "scaled"), ("wdsr_x2_37k", "plain")]
        return quality_goals.tenfold(quality_goals.by_model(
            [r | {"train_macs": 7} for (name, role), p in zip(made, psnr, strict=False)
             for r in rows(name, (p, p, p), role=role)]
        ))  # fmt: skip

    found = told(36.0, 36.4, 36.6)
    assert found["gains"] == [0.4, 0.2] and found["ratio"] == 0.5 and found["next_gain"] == 0.1
    assert "0.100 dB" in found["why"] and "steps of the last training" in found["why"]
    assert found["train_macs"] == [7, 7, 7] and found["supernet_train_macs"] is None
    for psnr in ((36.0, 36.1, 36.3), (36.0, 36.4, 36.4), (36.4, 36.0, 36.1), (36.0, 36.4)):
        assert told(*psnr)["next_gain"] is None and told(*psnr)["why"]


def test_rows_of_weights_that_are_not_at_hand():
    before = rows("a", (1, 2, 3)) + rows("b", (1, 2, 3)) + rows("c", (1, 2, 3))[:2]
    missing = [{"name": name, "weights": digest} for name, digest in (("a", "wa"), ("b", "other"), ("c", "wc"))]
    assert quality_rows.kept(before, missing) == (rows("a", (1, 2, 3)), ["b", "c"])


ARCHITECTURE = Architecture.uniform(2, 1, 4)


def history(name, role, path, scale=2, steps=(5, 10), **more):
    """What ship.history would give."""
    training = {
        "run": {"steps": steps[-1], "teacher": None, "batch": 4, "patch": 32, "architecture": ARCHITECTURE.to_json()},
        "rows": [{"step": s, "loss": 1, "psnr": 30 + s} for s in steps],
    }
    about = {"name": name, "role": role, "scale": scale, "device": "galaxy-s21", "budget": 40}
    digest = ship.digest(path) if path else ""
    head = {"schema": ship.SCHEMA, "version": ship.VERSION}
    return head | about | {"params": 1, "weights": digest, "search": None, "training": training} | more


@pytest.fixture
def place(tmp_path):
    """Pictures, a models folder with one shipped network, and a work folder with a plain one."""
    rng = np.random.default_rng(0)
    for name in SETS:
        (tmp_path / "eval" / name).mkdir(parents=True)
        picture = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "eval" / name / "a.png")
    models, weights = tmp_path / "models", tmp_path / "work/net_plain/weights.safetensors"
    save_weights(WDSR(Architecture.uniform(2, 1, 4)), models / "net.safetensors")
    save_weights(WDSR(Architecture.uniform(2, 1, 5)), weights)
    steps = {"run": {"width_steps": 3, "depth_steps": 6, "batch": 4, "patch": 32, "supernet": ARCHITECTURE.to_json()}}
    searched = history("net", "searched", models / "net.safetensors", search=steps)
    for found in (searched, history("net_plain", "plain", weights)):
        files.write_json(models / "history" / f"{found['name']}.json", found)
    places = (f"{before}\nold\n{after}\n" for before, after in map(quality_readme.marks, ("scores", "goals")))
    (models / "README.md").write_text(f"# Ours\n{''.join(places)}end\n")
    return tmp_path


def run(place, work="work"):
    args = ["--data", place, "--work", place / work, "--models", place / "models", "-o", place / "out.json"]
    result = CliRunner().invoke(quality.main, [str(a) for a in args])
    if isinstance(result.exception, SrTvmError):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads((place / "out.json").read_text())


def test_all_of_it(place, monkeypatch):
    monkeypatch.setattr(quality_rows, "PUBLISHED", {})
    value = run(place)
    by = {(r["model"], r["scale"], r["set"]): r for r in value["rows"]}
    assert len(by) == 4 * 3 and value["summary"]["missing"] == [] and (place / "out.svg").read_text().count("<svg")
    net = by["net", 2, "B100"]
    a = load_weights(place / "models/net.safetensors").architecture
    assert net["shipped"] and net["trained"] == "searched 9 steps, trained 10" and net["macs"] == a.macs(360, 640)
    assert net["predicted_ms"].keys() == {"galaxy-s21", "galaxy-s10", "galaxy-s10-dsp"}
    plain = by["net_plain", 2, "Set5"]
    assert not plain["shipped"] and plain["trained"] == "plain, trained 10 steps"
    assert net["train_macs"] > plain["train_macs"] > 0 and by["bicubic", 2, "B100"]["train_macs"] is None
    text = (place / "models/README.md").read_text()
    assert text.startswith("# Ours\n") and text.endswith("\nend\n") and "old" not in text
    assert "`net`" in text and "net_plain" not in text and text.count("| bicubic |") == 2
    # Without the plain network's weights its rows stay, unless they are of others.
    again = run(place, "elsewhere")
    assert [r for r in again["rows"] if r["model"] == "net_plain"] == [
        r for r in value["rows"] if r["model"] == "net_plain"
    ]
    shutil.copy(place / "models/net.safetensors", place / "work/net_plain/weights.safetensors")
    assert {r["weights"] for r in run(place)["rows"] if r["model"] == "net_plain"} == {plain["weights"]}
    path = place / "models/history/net_plain.json"
    files.write_json(path, json.loads(path.read_text()) | {"weights": "0" * 16})
    assert run(place)["summary"]["missing"] == ["net_plain"]


def test_scores_are_kept_where_the_readme_has_no_place(place, monkeypatch):
    monkeypatch.setattr(quality_rows, "PUBLISHED", {})
    (place / "models/README.md").write_text("# Ours\n")
    with pytest.raises(SrTvmError, match="the table's place is between"):
        run(place)
    assert json.loads((place / "out.json").read_text())["rows"]


def test_models_elsewhere_need_no_readme(place, monkeypatch):
    monkeypatch.setattr(quality_rows, "PUBLISHED", {})
    (place / "models/README.md").unlink()
    assert run(place)["rows"] and not (place / "models/README.md").exists()


def test_a_broken_protocol(place):
    with pytest.raises(SrTvmError, match="bicubic is off the published figures on Set5 x2, "):
        run(place)
    assert "old" in (place / "models/README.md").read_text()


def test_a_history_of_other_weights_tells_nothing(place):
    save_weights(WDSR(Architecture.uniform(2, 1, 6)), place / "models/net.safetensors")
    found, missing = quality_rows.candidates(place / "models", place / "work")
    net = next(c for c in found if c.name == "net")
    assert net.about["trained"] is None and net.about["role"] == "shipped" and not missing


def test_the_figure(tmp_path):
    made = [history(f"net{i}", role, None) for i, role in enumerate(("searched", "plain", "supernet", "scaled"))]
    made.append(history("wdsr_x2_37k", "plain", None, scale=4))
    made.append(history("silent", "plain", None) | {"training": {"run": {}, "rows": [{"step": 1, "loss": 1}]}})
    assert [[h["name"] for h in lines] for lines in quality_figure.panels(made).values()] == [
        ["net0", "net1", "net2"], ["wdsr_x2_37k"], ["net3", "wdsr_x2_37k"]
    ]  # fmt: skip
    assert quality_figure.draw(made, tmp_path / "a.svg") and "40.00 net0" in (tmp_path / "a.svg").read_text()
    assert not quality_figure.draw(made[-1:], tmp_path / "b.svg") and not (tmp_path / "b.svg").exists()


def test_a_readme_without_a_place_for_the_table(tmp_path):
    (begin, end), nothing = quality_readme.marks("scores"), {"goals": []}
    for text in ("", begin, f"{end}\n{begin}", f"{begin}\n{end}"):
        (tmp_path / "README.md").write_text(text)
        with pytest.raises(SrTvmError, match="the table's place is between"):
            quality_readme.write(tmp_path / "README.md", [], nothing)
        assert (tmp_path / "README.md").read_text() == text


def test_what_is_published_agrees():
    """The README's tables, the results and the shipped weights are of one another."""
    value = json.loads((common.RESULTS / "quality.json").read_text())
    text = (quality.MODELS / "README.md").read_text()
    for name, told in quality_readme.tables(value["rows"], value["summary"]).items():
        begin, end = quality_readme.between(text, name, "README.md")
        assert text[begin:end] == f"\n{told}\n"
    shipped = {r["model"]: r["weights"] for r in value["rows"] if r["shipped"]}
    assert shipped == {p.stem: ship.digest(p) for p in quality.MODELS.glob("*.safetensors")}
    assert value["summary"] == quality.summarize(value["rows"], value["summary"]["missing"])
    for found in ship.read(quality.MODELS):  # the story of how it was made otherwise is no longer true
        assert f"\n## {found['name']}\n" not in text
