"""What a training by the minute has finished, in place of what ships."""

import json
import shutil

import pytest
import torch
from click.testing import CliRunner

from benchmarks.quality import quality_rows
from recipes import adopt, lanes, ship
from recipes.lanes import Clock, LanePlaces, Lanes
from recipes.priorities import TEACHER, Hyperparameters, Item
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import save_weights
from sr_tvm.records.architecture import Architecture

NAME = "student"
ITEMS = (Item(TEACHER[2], 2, "wdsr-1x6", distilled=False), Item(NAME, 2))


@pytest.fixture
def shipped(folders, tmp_path, monkeypatch):
    """A models folder with a searched network, and a work folder where its teacher and it are finished."""
    monkeypatch.setattr(adopt, "ITEMS", ITEMS)
    models, work = tmp_path / "models", tmp_path / "work"
    (models / ship.HISTORY).mkdir(parents=True)
    torch.manual_seed(0)
    net = WDSR(Architecture.uniform(2, 1, 4))
    save_weights(net, models / f"{NAME}.safetensors")
    net.architecture.save(models / f"{NAME}.json")
    run = {"steps": 1000, "batch": 4, "patch": 32, "architecture": net.architecture.to_json()}
    old = {"schema": ship.SCHEMA, "version": ship.VERSION, "name": NAME, "role": ship.SEARCHED, "scale": 2}
    old |= {"device": "galaxy-s21", "budget": 70, "params": 1, "weights": ship.digest(models / f"{NAME}.safetensors")}
    supernet = Architecture.uniform(2, 2, 8).to_json()
    asked = {"width_steps": 3, "depth_steps": 4, "batch": 4, "patch": 32, "supernet": supernet}
    old |= {"search": {"run": asked, "rows": [], "result": {}}, "training": {"run": run, "rows": []}}
    (models / ship.HISTORY / f"{NAME}.json").write_text(json.dumps(old))
    places = LanePlaces([folders[0]], folders[1], work, models, torch.device("cpu"), tmp_path / "cache")
    hyper = Hyperparameters(2, 3, batch=2, patch=((2, 16), (4, 16)))
    Lanes(ITEMS, hyper, places, 2, lambda text: None).run(Clock(lanes.time.monotonic(), 600))
    return models, work, old


def call(models, work, *more):
    line = ["--models", str(models), "--work", str(work), *more]
    return CliRunner().invoke(adopt.main, line, catch_exceptions=False)


def test_it_is_replaced_as_a_whole_and_what_came_before_is_kept(shipped):
    models, work, old = shipped
    done = call(models, work)
    assert done.exit_code == 0 and f"{NAME}, " in done.output and done.output.count(": replaced") == 2
    assert (models / f"{NAME}.safetensors").read_bytes() == (work / NAME / "weights.safetensors").read_bytes()
    assert (models / f"{NAME}.onnx").is_file() and not (models / f"{TEACHER[2]}.safetensors").exists()
    assert (models / "teacher" / f"{TEACHER[2]}.safetensors").is_file()
    (new,) = ship.read(models)
    assert new["weights"] == ship.digest(models / f"{NAME}.safetensors") and new["search"] == old["search"]
    assert new["before"] == [{"weights": old["weights"], "training": old["training"]}]
    assert (new["role"], new["device"], new["budget"]) == (ship.SEARCHED, "galaxy-s21", 70)
    assert new["spent"]["low_resolution_pixels"] == 3 * 2 * 16**2
    assert quality_rows.trained(new) == "searched 7 steps, trained 1,000 and 3, taught"
    (candidate,) = [c for c in quality_rows.candidates(models, work)[0] if c.name == NAME]
    assert candidate.about["seen_pixels"] == 1000 * 4 * 32**2 + 3 * 2 * 16**2
    assert candidate.about["spent"]["minutes"] >= 0 and candidate.about["train_macs"] > 0
    done = call(models, work)
    assert done.output.count("is there already") == 2 and ship.read(models) == [new]


def test_only_what_is_named_and_finished(shipped):
    models, work, _ = shipped
    before = (models / f"{NAME}.safetensors").read_bytes()
    call(models, work, "--only", TEACHER[2])
    assert (models / f"{NAME}.safetensors").read_bytes() == before
    shutil.rmtree(work / NAME)
    with pytest.raises(SrTvmError, match="nothing in it is finished"):
        call(models, work, "--only", NAME)


def test_damaged_weights_replace_nothing(shipped):
    models, work, old = shipped
    (work / NAME / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(SrTvmError, match="not a safetensors file"):
        call(models, work)
    assert ship.read(models) == [old]
