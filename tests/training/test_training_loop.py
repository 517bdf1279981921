import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import load_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.training import loop
from sr_tvm.training.loop import CHECKPOINT, look_ahead, train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import TrainingSettings

SMALL = dict(architecture=Architecture.uniform(2, 1, 4), steps=9, batch=2, patch=16, validate_every=4)


@pytest.fixture
def begin(folders, tmp_path):
    def make(**changed):
        settings = TrainingSettings(**SMALL | changed)
        return prepare(settings, [folders[0]], folders[1], "cpu", 1, tmp_path / "cache")[0]

    return make


def stop_at(step):
    def report(now):
        if now.step == step:
            raise KeyboardInterrupt

    return report


def ignore(now):
    pass


@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_resumed_run_equals_an_uninterrupted_one(begin, tmp_path, monkeypatch, stop):
    train(begin(), tmp_path / "whole", ignore)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # after every step
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path / "parts", stop_at(stop + 1))
    resumed = begin()
    resumed.restore(tmp_path / "parts" / CHECKPOINT)
    assert resumed.step == stop
    train(begin(), tmp_path / "parts", ignore)
    for name in ("weights.safetensors", CHECKPOINT):
        whole, parts = (load_file(tmp_path / where / name) for where in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert (tmp_path / "whole/history.json").read_text() == (tmp_path / "parts/history.json").read_text()


def test_results(begin, tmp_path):
    trainer = begin()
    train(trainer, tmp_path, ignore)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["step"] for row in history["rows"]] == [4, 8, 9]
    assert all(row["loss"] > 0 and 5 < row["psnr"] < 60 for row in history["rows"])
    assert Architecture.load(tmp_path / "architecture.json") == SMALL["architecture"]
    assert trainer.validate(load_weights(tmp_path / "weights.safetensors")) == history["rows"][-1]["psnr"]


def test_what_it_took_is_told(begin, tmp_path):
    """Pixels of all steps, larger patches among them, and minutes over a resume."""
    changed = dict(late_patch=24, late_share=0.5)  # 5 steps of 2 of 16x16, 4 of one of 24x24
    first = begin(**changed)
    for _ in range(3):
        first.advance()
    first.seconds = 600.0
    first.save(tmp_path / CHECKPOINT)
    train(begin(**changed), tmp_path, ignore)
    told = json.loads((tmp_path / "spent.json").read_text())
    assert told["low_resolution_pixels"] == 5 * 2 * 16**2 + 4 * 24**2
    assert 10 <= told["minutes"] < 11 and told["clock"] == "the processor's" and told["device"]


def test_nothing_to_validate_on(folders, tmp_path):
    """The loss of each interval, and no PSNR; validation can be added when the run is resumed."""
    settings = TrainingSettings(**SMALL)

    def make(validate):
        return prepare(settings, [folders[0]], validate, "cpu", 1, tmp_path / "cache")

    trainer, baseline = make(None)
    assert baseline is None
    seen = []
    with pytest.raises(KeyboardInterrupt):
        train(trainer, tmp_path, lambda now: seen.append(now.psnr) or stop_at(6)(now))
    assert seen == [None] * 6
    trainer.save(tmp_path / CHECKPOINT)
    trainer, baseline = make(folders[1])
    assert baseline > 10
    train(trainer, tmp_path, ignore)
    rows = json.loads((tmp_path / "history.json").read_text())["rows"]
    assert [(row["step"], "psnr" in row) for row in rows] == [(4, False), (8, True), (9, True)]
    whole, _ = make(None)
    train(whole, tmp_path / "whole", ignore)
    assert [sorted(row) for row in whole.history] == [["loss", "step"]] * 3
    ours, other = (load_file(tmp_path / name / "weights.safetensors") for name in (".", "whole"))
    assert all(torch.equal(ours[k], other[k]) for k in ours)


def test_it_learns(begin):
    trainer = begin(steps=60, lr=5e-3, ema=0.9, validate_every=10)
    losses = [trainer.advance().loss for _ in range(60)]
    assert losses[-1] < losses[5] / 1.5
    assert trainer.history[-1]["psnr"] > trainer.history[0]["psnr"] + 1


def test_another_seed_is_another_run(begin):
    a, b, c = begin(), begin(seed=1), begin()
    assert a.advance().loss != b.advance().loss
    c.advance()
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), c.model.parameters(), strict=True))


def test_a_finished_run_writes_its_results_again(begin, tmp_path):
    train(begin(), tmp_path, ignore)
    first = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").unlink()
    train(begin(), tmp_path, ignore)
    assert (tmp_path / "weights.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(lr=1e-3), "lr 0.006"),
        (dict(seed=7), "seed 0"),
        (dict(steps=10), "steps 9"),
        (dict(architecture=Architecture.uniform(2, 1, 5)), "another architecture"),
    ],
)
def test_a_resume_with_other_settings_is_refused(begin, tmp_path, changed, message):
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path, stop_at(1))
    with pytest.raises(SrTvmError, match=message):
        look_ahead(TrainingSettings(**SMALL | changed), tmp_path)
    with pytest.raises(SrTvmError, match=message):
        train(begin(**changed), tmp_path, ignore)


def test_a_resume_on_other_pictures_is_refused(begin, folders, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path, stop_at(1))
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    (fewer / "0.png").write_bytes((folders[0] / "0.png").read_bytes())
    other = prepare(TrainingSettings(**SMALL), [fewer], folders[1], "cpu", 1, tmp_path / "cache")[0]
    with pytest.raises(SrTvmError, match="other training pictures"):
        train(other, tmp_path, ignore)


def tamper(path, change):
    from safetensors import safe_open

    with safe_open(path, "pt") as handle:
        told = json.loads(handle.metadata()["training"])
    state = load_file(path)
    change(state, told)
    save_file(state, path, {"training": json.dumps(told)})


DAMAGES = {
    "missing tensor": lambda s, t: s.pop("model.head.bias"),
    "wrong shape": lambda s, t: s.update({"exp_avg.head.bias": torch.zeros(5)}),
    "not a number": lambda s, t: s["average.head.bias"].fill_(float("nan")),
    "integers": lambda s, t: s.update({"model.head.bias": s["model.head.bias"].int()}),
    "step too high": lambda s, t: t.update(step=10),
    "step true": lambda s, t: t.update(step=True),
    "no counters": lambda s, t: t.update(state={}),
    "bad history": lambda s, t: t["state"].update(history=[3]),
    "history not a number": lambda s, t: t["state"].update(history=[{"step": 1, "loss": 1e999, "psnr": 1}]),
    "another version": lambda s, t: t.update(version=1),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_checkpoints_are_refused(begin, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path, stop_at(1))
    tamper(tmp_path / CHECKPOINT, change)
    with pytest.raises(SrTvmError, match="delete it to start again"):
        train(begin(), tmp_path, ignore)


@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00.", b"\x02\0\0\0\0\0\0\0{}"])
def test_foreign_checkpoints_are_refused(begin, tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(SrTvmError, match="delete it to start again"):
        look_ahead(TrainingSettings(**SMALL), tmp_path)


def test_a_loss_that_is_not_a_number_stops_the_run(begin):
    trainer = begin()
    with torch.no_grad():
        trainer.model.head.bias.fill_(float("inf"))
    with pytest.raises(SrTvmError, match="smaller --lr"):
        trainer.advance()


def test_never_on_validation_pictures(folders, tmp_path):
    """Told by pixels: another name and another file format do not hide a picture."""
    from PIL import Image

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    Image.open(folders[0] / "0.png").save(mixed / "0.png")
    Image.open(folders[1] / "colour.png").save(mixed / "harmless.bmp")
    with pytest.raises(SrTvmError, match=r"harmless\.bmp is the validation picture .*colour\.png"):
        prepare(TrainingSettings(**SMALL), [mixed], folders[1], "cpu", 1, tmp_path / "cache")


@pytest.mark.parametrize(
    "name, value",
    [("steps", 0), ("batch", 0), ("patch", 4), ("lr", 0.0), ("lr", float("nan")), ("ema", 1.0), ("seed", -1)],
)
def test_numbers_out_of_range(name, value):
    with pytest.raises(SrTvmError, match=f"{name} is {value}"):
        TrainingSettings(**SMALL | {name: value})


def test_no_gpu_is_told(begin, monkeypatch):
    from sr_tvm.training.upscalers import pick_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(SrTvmError, match="no CUDA GPU"):
        pick_device("cuda")


def test_looking_ahead_writes_nothing(tmp_path):
    look_ahead(TrainingSettings(**SMALL), tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(SrTvmError, match="cannot write"):
            look_ahead(TrainingSettings(**SMALL), place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


EVERYTHING = dict(detail=0.5, shuffle=True, weights=(("train", 2.0),), late_patch=24, late_share=0.5)


def test_a_run_that_draws_by_detail_and_larger_patches_late_goes_on_too(begin, tmp_path):
    train(begin(**EVERYTHING), tmp_path / "whole", ignore)
    parts = begin(**EVERYTHING)
    for _ in range(6):
        parts.advance()
    parts.save(tmp_path / "parts" / CHECKPOINT)
    train(begin(**EVERYTHING), tmp_path / "parts", ignore)
    whole, parts = (load_file(tmp_path / where / CHECKPOINT) for where in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    with pytest.raises(SrTvmError, match="began with detail 0.5, now it is 0.0"):
        look_ahead(TrainingSettings(**SMALL), tmp_path / "parts")


def test_what_settings_were_before_they_were_there_is_their_default():
    told = TrainingSettings(**SMALL).to_json()
    assert {name: told[name] for name in loop.LATER} == loop.LATER


def test_a_run_from_before_a_setting_was_there_goes_on(begin, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(begin(), tmp_path, stop_at(1))
    tamper(tmp_path / CHECKPOINT, lambda state, told: [told["run"].pop(name) for name in loop.LATER])
    with pytest.raises(SrTvmError, match="began with shuffle False, now it is True"):
        look_ahead(TrainingSettings(**SMALL | {"shuffle": True}), tmp_path)
    train(begin(), tmp_path, ignore)
