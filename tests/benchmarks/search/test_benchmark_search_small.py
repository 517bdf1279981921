"""The benchmark of a small search, its pieces: the folders it reads, the rows it writes, what it sums up."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from benchmarks.search import search_small
from benchmarks.search.pruning_table import SETS
from benchmarks.search.search_small_time import Spent
from recipes import pictures
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights


@pytest.fixture
def place(tmp_path):
    """DATA with two pictures to train on and one in each set to score on."""
    for folder in ("train/A", *(f"eval/{name}" for name in SETS)):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(2):
        cut = np.ascontiguousarray(data.astronaut()[i * 90 : i * 90 + 80, 100:180])
        Image.fromarray(cut).save(tmp_path / f"train/A/{i}.png")
    for name in SETS:
        Image.fromarray(np.ascontiguousarray(data.coffee()[100:141, 100:151])).save(tmp_path / f"eval/{name}/1.png")
    return tmp_path


def test_no_training_pictures_is_told(tmp_path):
    with pytest.raises(SrTvmError, match="no folder of training pictures"):
        pictures.train_folders(tmp_path)


def test_a_test_picture_in_training_is_refused(place):
    """Of any set, not of the one that is scored on along the way alone."""
    (place / "eval/B100/1.png").write_bytes((place / "train/A/1.png").read_bytes())
    args = ["--data", place, "--work", place / "work", "-o", place / "out.json"]
    found = CliRunner().invoke(search_small.main, [str(a) for a in args])
    assert isinstance(found.exception, SrTvmError) and "B100" in str(found.exception)
    assert not (place / "work/supernet").exists()


def test_a_part_of_the_steps_is_not_published(place):
    found = CliRunner().invoke(search_small.main, ["--data", str(place), "--part", "0.5"])
    assert found.exit_code == 2 and "with -o" in found.output


def test_a_row_for_each_budget(place):
    """The search's network and the plain one, both within the budget and trained for equally many steps."""
    ticks = []
    plan = search_small.Plan(
        place, place / "work", {"supernet": 2, "width": 2, "race": 0, "depth": 2, "finetune": 3}, 1
    )

    def tick(done, total):
        ticks.append((done, total))

    whole = search_small.train(plan, search_small.SUPERNET, 2, "supernet", tick)
    assert whole.architecture == search_small.SUPERNET and ticks == [(1, 2), (2, 2)]
    for budget in search_small.BUDGETS:
        ticks.clear()
        found = search_small.search(plan, budget, tick)
        assert found["inside"] and 0.97 * budget <= found["predicted"] <= budget
        assert found["channels"] <= 16 and len(found["blocks"]) <= 4
        usual = search_small.unsearched(plan, budget, tick)
        assert usual["predicted"] <= budget and len(set(map(tuple, usual["blocks"]))) == 1
        assert [total for _, total in ticks] == [7] * 14
        trained = load_weights(place / f"work/plain{budget:g}/weights.safetensors").architecture
        assert (trained.params, trained.channels) == (usual["params"], usual["channels"])
        assert found["of_budget"] == pytest.approx(found["predicted"] / budget, abs=1e-4) and usual["of_budget"] <= 1
        # Steps are equal, what they compute is not: four of them are the whole supernet's.
        step, net = 3 * search_small.BATCH * search_small.PATCH**2, trained
        assert usual["train_macs"] == 7 * step * net.macs(1, 1)
        own = load_weights(place / f"work/{budget:g}/weights.safetensors").architecture
        assert found["train_macs"] == step * (4 * search_small.SUPERNET.macs(1, 1) + 3 * own.macs(1, 1))
        row = search_small.row(budget, found, usual)
        assert row["gain"].keys() == set(SETS) and min(found["psnr_y"].values()) > 5
        assert row["gain"]["B100"] == pytest.approx(found["psnr_y"]["B100"] - usual["psnr_y"]["B100"], abs=6e-4)


def test_the_summary_says_which_was_better():
    def made(budget, inside, *gains):
        return {"budget": budget, "searched": {"inside": inside}, "gain": dict(zip(SETS, gains, strict=True))}

    rows = [made(40.0, True, 0.1, -0.01, 0.03), made(16.0, False, 0.01, -0.1, 0.0)]
    told = search_small.summarize(rows, {"Set5": 37.0}, 12.5, 11.0)
    assert told["beats_plain"] == {"40": True, "16": False} and told["mean_gain"] == {"40": 0.04, "16": -0.03}
    assert told["inside"] is False and told["in_time"] is True and told["cpu_minutes"] == 11.0
    assert search_small.summarize(rows, {"Set5": 37.0}, 12.5, 11.0, all_known=False)["in_time"] is None


def test_time_is_that_of_all_runs(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr("benchmarks.search.search_small_time.time.monotonic", lambda: next(clock))
    for run in range(2):  # the second takes up what the first has done
        spent = Spent(tmp_path)
        with spent.on("supernet"):
            (tmp_path / "supernet").mkdir(exist_ok=True)
            (tmp_path / "supernet/checkpoint.safetensors").touch()
        assert spent.minutes[0] == run + 1 and spent.all_known
    with pytest.raises(KeyboardInterrupt), spent.on("40 ms"):
        raise KeyboardInterrupt
    assert Spent(tmp_path).minutes[0] == 3 and Spent(tmp_path).all_known and spent.seconds("40 ms") == 60
    # Killed: no note of how long it was at it, and none of what an older version did.
    spent._write("40 ms")
    again = Spent(tmp_path)
    with again.on("40 ms"):
        pass
    assert not again.all_known and not Spent(tmp_path).all_known
    (tmp_path / "seconds.json").unlink()
    assert not Spent(tmp_path).all_known
