"""Trainings side by side for some minutes: order, time, resuming, and what one that fails does to the others."""

import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from recipes import lanes, minutes, pack
from recipes.lanes import DONE, FAILED, STOPPED, WAITS, Clock, LanePlaces, Lanes
from recipes.priorities import GPU, ITEMS, TEACHER, Hyperparameters, Item, network
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.branches import branch
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.training import distillation, loop
from sr_tvm.training.checkpoint import peek
from sr_tvm.training.optimizers import Optimizers
from sr_tvm.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
HYPER = Hyperparameters(4, 6, batch=2, patch=((2, 16), (4, 8)), late_patch=24, late_share=0.5, validations=2)
PLAIN, STUDENT = Item(TEACHER[2], 2, "wdsr-1x6", distilled=False), Item("student", 2)
OTHER = Item("other", 2, "wdsr-1x5", distilled=False)


@pytest.fixture
def places(folders, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    torch.manual_seed(0)
    student = WDSR(Architecture.uniform(2, 1, 4))
    save_weights(student, models / "student.safetensors")
    student.architecture.save(models / "student.json")
    return LanePlaces([folders[0]], folders[1], tmp_path / "work", models, torch.device("cpu"), tmp_path / "cache")


def run(places, items, most=2, seconds=60.0, hyper=HYPER, asked=lambda: False):
    said = []
    told = Lanes(items, hyper, places, most, said.append)
    told.run(Clock(time.monotonic(), seconds), asked)
    return told, said


def weights(places, name):
    return load_file(places.work / name / "weights.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def taken(monkeypatch):
    """The steps that were taken, by all lanes."""
    steps, real = [], lanes.Trainer.advance
    monkeypatch.setattr(lanes.Trainer, "advance", lambda self: steps.append(self.step) or real(self))
    return steps


def after_a_round(steps):
    before = len(steps)
    return lambda: len(steps) > before


def test_a_student_waits_for_its_teacher_and_learns_from_it(places):
    told, said = run(places, (STUDENT, PLAIN))
    assert set(told.state.values()) == {DONE}
    assert [line.split(":")[0] for line in said if "from step 0" in line] == [TEACHER[2], "student"]
    history = (places.work / "student/history.json").read_text()
    assert "weights.safetensors (sha256" in history and "student.safetensors (sha256" in history
    assert not list(places.work.rglob("checkpoint*"))
    assert load_weights(places.work / "student/weights.safetensors").architecture == Architecture.uniform(2, 1, 4)
    told, said = run(places, (STUDENT, PLAIN))
    assert set(told.state.values()) == {DONE} and not said


def test_no_more_than_so_many_at_a_time(places, taken):
    more = tuple(Item(f"more{i}", 2, "wdsr-1x4", distilled=False) for i in range(3))
    told, _ = run(places, more, most=2, asked=after_a_round(taken))
    assert list(told.state.values()) == [STOPPED, STOPPED, WAITS]


def test_stopped_and_resumed_it_is_the_same(places, taken, tmp_path):
    whole = LanePlaces(places.train, places.validate, tmp_path / "whole", places.models, places.device, places.cache)
    run(whole, (PLAIN, OTHER))
    for _ in range(4):
        told, _ = run(places, (PLAIN, OTHER), asked=after_a_round(taken))
    assert set(told.state.values()) == {DONE}
    for name in (PLAIN.name, OTHER.name):
        assert equal(weights(whole, name), weights(places, name))


def test_it_ends_when_the_time_is_up_and_begins_nothing_shortly_before(places, monkeypatch):
    """By a clock on which a step takes a second."""
    now, real, hyper = [100.0], lanes.Trainer.advance, replace(HYPER, teacher_steps=10**6, validations=1)
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def advance(self):
        now[0] += 1
        return real(self)

    monkeypatch.setattr(lanes.Trainer, "advance", advance)
    told = Lanes((PLAIN,), hyper, places, 1, lambda text: None)
    told.run(Clock(100.0, 50.0))
    assert now[0] == 145 and told.state[PLAIN.name] == STOPPED  # a tenth is for the last checkpoint
    assert peek(places.work / PLAIN.name / "checkpoint.safetensors")["step"] == 45
    clock = Clock(100.0, 58.0)
    assert clock.left > 0 and not clock.worth_beginning
    told = Lanes((OTHER,), hyper, places, 1, lambda text: None)
    told.run(clock)
    assert told.state[OTHER.name] == WAITS and not (places.work / OTHER.name).exists()


def test_it_ends_while_a_teacher_is_still_at_work(places, monkeypatch):
    """On a clock on which each picture that a teacher enlarges takes a minute; what it made is not made again."""
    run(places, (PLAIN,))
    now, real, made = [0.0], distillation._enlarge, []
    monkeypatch.setattr(lanes, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def enlarge(*args):
        now[0] += 60
        made.append(now[0])
        return real(*args)

    monkeypatch.setattr(distillation, "_enlarge", enlarge)
    hyper = replace(HYPER, teacher_ensemble=False)
    said = []
    told = Lanes((STUDENT,), hyper, places, 1, said.append)
    told.run(Clock(0.0, 130.0))
    assert told.state == {"student": WAITS} and len(made) == 2 and "the time is up before it is prepared" in said[0]
    told.run(Clock(now[0], 1000.0))
    assert told.state == {"student": DONE} and len(made) == 4


def test_a_checkpoint_is_written_every_minute(places, taken, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    seen = []

    def asked():
        if taken:
            seen.append(peek(places.work / PLAIN.name / "checkpoint.safetensors")["step"])
        return False

    run(places, (PLAIN,), asked=asked)
    assert seen == [1, 2, 3]


def test_one_that_fails_leaves_the_others_alone(places, monkeypatch):
    real = lanes.Trainer.advance

    def advance(self):
        if self.settings.architecture.channels == 6 and self.step == 2:
            raise SrTvmError("the loss is nan by step 2")
        return real(self)

    monkeypatch.setattr(lanes.Trainer, "advance", advance)
    told, said = run(places, (PLAIN, OTHER, STUDENT))
    assert told.state == {PLAIN.name: FAILED, OTHER.name: DONE, "student": WAITS}
    assert told.why == {PLAIN.name: "the loss is nan by step 2"}


def test_when_the_memory_is_full_the_rest_goes_on(places, monkeypatch):
    real = lanes.Trainer.advance

    def advance(self):
        if self.settings.architecture.channels == 5 and self.step == 0:
            raise torch.cuda.OutOfMemoryError("no")
        return real(self)

    monkeypatch.setattr(lanes.Trainer, "advance", advance)
    told, _ = run(places, (PLAIN, OTHER, STUDENT))
    assert told.state == {PLAIN.name: DONE, OTHER.name: WAITS, "student": DONE} and told.most == 1
    told, _ = run(places, (OTHER,))
    assert told.state == {OTHER.name: FAILED} and told.why == {OTHER.name: "the GPU's memory is full"}


def test_a_run_keeps_the_teacher_that_it_began_with(places, taken):
    (places.models / "teacher").mkdir()
    torch.manual_seed(1)
    save_weights(WDSR(Architecture.uniform(2, 1, 8)), places.models / "teacher" / f"{TEACHER[2]}.safetensors")
    run(places, (STUDENT,), asked=after_a_round(taken))
    run(places, (PLAIN,))  # a better one is there now
    told, said = run(places, (STUDENT,))
    assert told.state == {"student": DONE} and "models/teacher" in said[0]
    assert f"{TEACHER[2]}.safetensors (sha256" in (places.work / "student/history.json").read_text()


def test_what_begins_as_another_waits_for_it(places, taken):
    """A narrower one that was brought along would not do."""
    (places.models / "teacher").mkdir()
    save_weights(WDSR(Architecture.uniform(2, 1, 5)), places.models / "teacher" / f"{PLAIN.name}.safetensors")
    later = Item("later", 4, "wdsr-1x6", PLAIN.name, distilled=False)
    hyper = replace(HYPER, late_patch=0)
    told, _ = run(places, (later,), hyper=hyper)
    assert told.state == {"later": WAITS}
    told, _ = run(places, (later, PLAIN), hyper=hyper)
    assert told.state == {"later": DONE, PLAIN.name: DONE}
    assert load_weights(places.work / "later/weights.safetensors").architecture.scale == 4


def test_what_was_made_with_other_settings_is_refused(places, taken):
    run(places, (PLAIN,))
    run(places, (OTHER,), asked=after_a_round(taken))
    told, _ = run(places, (PLAIN, OTHER), hyper=replace(HYPER, teacher_steps=5))
    assert told.state == {PLAIN.name: FAILED, OTHER.name: FAILED}
    assert all("began with steps 4, now it is 5" in why for why in told.why.values())


def test_what_is_carried_is_counted(places, taken):
    run(places, (PLAIN, OTHER), asked=after_a_round(taken))
    sizes = [p.stat().st_size for p in places.work.rglob("checkpoint.safetensors")]
    assert len(sizes) == 2 and lanes.to_carry(places.work) == sum(sizes)


def test_the_checkpoints_of_the_priorities_travel():
    """Below 16 MB a file, and together what is begun together: teachers come one after the other."""
    sizes = {}
    for item in ITEMS:
        settings = GPU.settings(item, ROOT / "models", "bfloat16", None, None)
        net = WDSR(settings.architecture)
        branch(net, settings.branches)
        moments = Optimizers(dict(net.named_parameters()), 1e-3, torch.device("cpu")).moments()
        weights = sum(p.numel() for p in net.parameters())
        sizes[item.name] = 4 * (2 * weights + sum(m.numel() for m in moments.values()))
    assert max(sizes.values()) < 10e6
    students = [sizes[item.name] for item in ITEMS if item.distilled and item.scale == 2]
    assert sizes[TEACHER[4]] + sum(students[:3]) < lanes.TRAVELS  # with what is trained beside it first


def test_every_item_has_what_it_begins_with():
    assert [item.name for item in ITEMS[:3]] == [TEACHER[2], "wdsr_x2_8x24", TEACHER[4]]
    for item in ITEMS:
        assert isinstance(network(item, ROOT / "models"), Architecture)
        assert item.arch or (ROOT / "models" / f"{item.name}.safetensors").is_file()
    shipped = {path.stem for path in (ROOT / "models").glob("*.safetensors")}
    assert shipped <= {item.name for item in ITEMS}


def test_choosing():
    assert [item.name for item in minutes.choose(ITEMS, f"wdsr_x2_37k,{TEACHER[2]}")] == [TEACHER[2], "wdsr_x2_37k"]
    with pytest.raises(SrTvmError, match="no training is named 'x'; there are teacher_x2, "):
        minutes.choose(ITEMS, "x")


def test_a_result_of_before_a_setting_was_there(places):
    """Told by a history as well as by a checkpoint."""
    run(places, (PLAIN,))
    found = TrainingSettings(Architecture.uniform(2, 1, 6)).to_json()
    for name in loop.LATER:
        found.pop(name)
    loop.check_same(found, TrainingSettings(Architecture.uniform(2, 1, 6)).to_json(), places.work)


# What a GPU machine has not got, and a checkout that nothing was installed from.
BARE = """
import importlib.abc, importlib.machinery, runpy, sys
sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
sys.path[:] = [p for p in sys.path if p not in ("", {root!r})]
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "msgspec":  # none but that of the wheels
            places = [place for place in sys.path if "sr-tvm-wheels-" in place]
            return importlib.machinery.PathFinder.find_spec(name, places) or importlib.machinery.ModuleSpec(name, self)
        if name.split(".")[0] in {{"skimage", "scipy", "tvm", "tvm_ffi", "onnx", "onnxscript", "tifffile", "matplotlib",
                                  "onnxruntime", "ml_dtypes", "packaging", "tornado", "elftools", "imageio"}}:
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        raise ImportError(f"{{spec.name}} is not on a GPU machine")
    def exec_module(self, module): pass
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_rehearsal(folders, tmp_path):
    """The command of a GPU machine, on the CPU: from a pack, nothing installed, twice."""
    import shutil

    data = tmp_path / "data"
    for place, source in (("train/mine", folders[0]), ("eval/Set5", folders[1])):
        shutil.copytree(source, data / place)
    found = pack.sources(data, lambda done, total: None)
    side, members = pack.choose(found, 10**6, lambda done, total: None)
    validate = [(f"eval/Set5/{p.name}", p.read_bytes()) for p in sorted((data / "eval/Set5").iterdir())]
    told = f'{{"schema": "{pack.SCHEMA}", "version": {pack.VERSION}}}'.encode()
    pack.write(tmp_path / "pack.zip", [(pack.INDEX, told), *members, *validate])
    (wheels := tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(wheels / "msgspec-0-cp3-linux.whl", "w") as archive:
        place = Path(msgspec.__file__).parent
        for file in (p for p in place.rglob("*") if p.suffix in (".py", ".so")):
            archive.write(file, file.relative_to(place.parent))
    line = [sys.executable, "-c", BARE.format(root=str(ROOT)), str(ROOT / "models/train.py"), "--device", "cpu"]
    line += ["--minutes", "1", "--data", str(tmp_path / "pack.zip"), "--work", str(tmp_path / "work")]
    line += ["--cache", str(tmp_path / "cache"), "--only", f"{TEACHER[2]},wdsr_x2_37k,wdsr_x2_s21_40ms"]
    line += ["--steps", "3", "--supernet-steps", "3", "--jobs", "2"]
    missing = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "msgspec is not on a GPU machine" in missing.stderr
    there = {**os.environ, "SR_TVM_WHEELS": str(wheels)}
    for _ in range(2):
        done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=there)
        assert done.returncode == 0, done.stderr
        assert "3 of 3 done" in done.stdout and "the same command goes on" in done.stdout
    for name in (TEACHER[2], "wdsr_x2_37k", "wdsr_x2_s21_40ms"):
        load_weights(tmp_path / "work" / name / "weights.safetensors")
