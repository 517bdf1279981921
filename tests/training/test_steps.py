"""The step as a GPU runs it, with a stand-in for the recording; teachers; other networks to begin with."""

import math

import pytest
import torch
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.loop import CHECKPOINT, Trainer, look_ahead, train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import TrainingSettings, WeightsFile
from sr_tvm.training.step import PLAIN_STEPS, TrainingStep, best_precision, mixed

CPU = torch.device("cpu")
SMALL = dict(architecture=Architecture.uniform(2, 1, 4), steps=9, batch=2, patch=16, validate_every=4)


@pytest.fixture
def begin(folders, tmp_path):
    def make(**changed):
        return prepare(TrainingSettings(**SMALL | changed), [folders[0]], None, "cpu", 1, tmp_path / "cache")[0]

    return make


@pytest.fixture
def large(tmp_path):
    torch.manual_seed(5)
    save_weights(WDSR(Architecture.uniform(2, 2, 6)), tmp_path / "large.safetensors")
    return WeightsFile.of(tmp_path / "large.safetensors")


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


class Recorder:
    """Like a CUDA graph: recording computes nothing, and a replay reads and writes the tensors there were then."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, body):
        self.recorded += 1

        def replay():
            self.replayed += 1
            body()

        return replay


def test_recorded_steps_are_the_plain_ones(begin, monkeypatch):
    """And a loss that is looked at seldom is told as the same at each validation."""
    plain, recorded, recorder = begin(), begin(), Recorder()
    monkeypatch.setattr(recorded.gradient, "record", recorder)
    recorded.gradient.forget()
    recorded.look_every = 3
    for _ in range(9):
        plain.advance(), recorded.advance()
    assert (recorder.recorded, recorder.replayed) == (1, 9 - PLAIN_STEPS)
    assert equal(plain.model, recorded.model) and equal(plain.average, recorded.average)
    assert [row["step"] for row in recorded.history] == [4, 8, 9]
    for mine, theirs in zip(plain.history, recorded.history, strict=True):
        assert mine == pytest.approx(theirs)


def test_larger_patches_are_recorded_anew(begin):
    changed = dict(late_patch=24, late_share=0.5)
    plain, recorded = begin(**changed), begin(**changed)
    recorded.gradient.record = recorder = Recorder()
    recorded.gradient.forget()
    for _ in range(9):
        plain.advance(), recorded.advance()
    assert recorder.recorded == 2 and recorder.replayed == 9 - 2 * PLAIN_STEPS
    assert recorded.gradient.batch[0].shape == (1, 3, 24, 24) and equal(plain.model, recorded.model)


def test_a_recording_reads_its_own_tensors(begin, large):
    """A replay does not see the tensors that it is called with: they must be copied to those of the recording."""
    trainer, seen = begin(teacher=large), []
    body = trainer.gradient._body

    def record(_):
        batch = trainer.gradient.batch

        def replay():
            assert trainer.gradient.batch is batch
            seen.append([plane.clone() for plane in batch])
            body()

        return replay

    trainer.gradient.record = record
    trainer.gradient.forget()
    for _ in range(6):
        trainer.advance()
    assert len(seen) == 6 - PLAIN_STEPS
    for i, planes in enumerate(seen):
        wanted = trainer.batch(PLAIN_STEPS + i)
        assert len(wanted) == 3 and all(torch.equal(*pair) for pair in zip(planes, wanted, strict=True))


def test_a_restored_run_records_anew(begin, tmp_path):
    trainer = begin()
    trainer.gradient.record = recorder = Recorder()
    trainer.gradient.forget()
    trainer.save(tmp_path / "early")
    for _ in range(5):
        trainer.advance()
    trainer.restore(tmp_path / "early")
    for _ in range(5):
        trainer.advance()
    assert recorder.recorded == 2
    other = begin()
    for _ in range(5):
        other.advance()
    assert equal(trainer.model, other.model)


def test_a_loss_looked_at_seldom_still_stops_the_run(begin, tmp_path):
    trainer = begin()
    trainer.look_every = 1000
    trainer.advance()
    with torch.no_grad():
        trainer.model.head.bias.fill_(float("nan"))
    trainer.advance()
    with pytest.raises(SrTvmError, match="smaller --lr"):
        trainer.save(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    "name, wanted",
    [("l1", lambda d: d.abs().mean()), ("l2", lambda d: (d * d).mean()),
     ("charbonnier", lambda d: torch.hypot(d, torch.tensor(1e-3)).mean())],
)  # fmt: skip
def test_the_kinds_of_loss(name, wanted):
    torch.manual_seed(0)
    model = WDSR(SMALL["architecture"])
    low, high = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        difference = model(low) - high
    step = TrainingStep(model, 1e-3, 0.5, CPU, None, loss=name)
    step((low, high), 1e-3)
    assert step.total.item() == pytest.approx(wanted(difference).item(), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_teachers_share_of_the_loss(share):
    torch.manual_seed(0)
    model = WDSR(SMALL["architecture"])
    low, high, wanted = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        output = model(low)
    truth, aim = (float(functional.l1_loss(output, x)) for x in (high, wanted))
    assert truth != pytest.approx(aim)
    step = TrainingStep(model, 1e-3, share, CPU, None)
    step((low, high, wanted), 1e-3)
    assert float(step.total) == pytest.approx((1 - share) * truth + share * aim, rel=1e-5)


def test_long_gradients_are_shortened():
    def norm_after(clip):
        torch.manual_seed(0)
        model = WDSR(SMALL["architecture"])
        step = TrainingStep(model, 1e-3, 0.0, CPU, None, clip)
        step((torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)), 1e-3)
        return float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())

    free = norm_after(0.0)
    assert norm_after(2 * free) == free
    assert norm_after(free / 4) == pytest.approx(free / 4, rel=1e-3)


def test_with_the_teacher_alone_its_student_comes_closer(begin, large):
    """Not all the way: the teacher is random and sees whole pictures, the student the borders of patches."""
    trainer = begin(teacher=large, teacher_share=1.0, steps=150, lr=5e-3, patch=28)
    losses = [trainer.advance().loss for _ in range(150)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_run_begins_as_the_slice(begin, large):
    """At step 0 a network of the file's architecture is the file's network; a smaller one is at least not fresh."""
    from sr_tvm.nets.weights import load_weights

    low = torch.rand(1, 3, 8, 8)
    same = begin(init=large, architecture=Architecture.uniform(2, 2, 6))
    with torch.no_grad():
        assert torch.allclose(same.model(low), load_weights(large.path)(low), atol=1e-6)
        assert torch.allclose(same.average(low), same.model(low), atol=1e-6)
    smaller = begin(init=large)
    skip = load_weights(large.path).skip
    assert torch.allclose(smaller.model.skip.weight, skip.weight, atol=1e-6)


def test_a_resumed_run_with_init_and_teacher_equals_an_uninterrupted_one(begin, large, tmp_path):
    more = dict(init=large, teacher=large, warmup=4, precision="bfloat16")

    def stop(now):
        if now.step == 5:
            raise KeyboardInterrupt

    train(begin(**more), tmp_path / "whole", lambda now: None)
    trainer = begin(**more)
    with pytest.raises(KeyboardInterrupt):
        train(trainer, tmp_path / "parts", stop)
    trainer.save(tmp_path / "parts" / CHECKPOINT)
    train(begin(**more), tmp_path / "parts", lambda now: None)
    name = "weights.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    save_weights(WDSR(Architecture.uniform(2, 2, 6)), large.path)
    changed = TrainingSettings(**SMALL | more | dict(init=WeightsFile.of(large.path)))
    with pytest.raises(SrTvmError, match=r"began with init large\.safetensors"):
        look_ahead(changed, tmp_path / "parts")
    with pytest.raises(SrTvmError, match="began with teacher large.* now it is none"):
        look_ahead(TrainingSettings(**SMALL | more | dict(teacher=None)), tmp_path / "parts")


def test_files_that_do_not_fit_are_told_before_pictures_are_prepared(large, tmp_path):
    for changed, message in (
        (dict(init=large, architecture=Architecture.uniform(2, 3, 6)), r"large\.safetensors: .*blocks\[2\]"),
        (dict(teacher=large, architecture=Architecture.uniform(4, 1, 4)), r"large\.safetensors: the teacher is x2"),
    ):
        with pytest.raises(SrTvmError, match=message):
            look_ahead(TrainingSettings(**SMALL | changed), tmp_path / "run")
    with pytest.raises(SrTvmError, match=r"none\.safetensors: no such file"):
        WeightsFile.of(tmp_path / "none.safetensors")


def test_the_rate_rises_and_falls():
    rates = [TrainingSettings(**SMALL | dict(warmup=3)).learning_rate(step) for step in range(9)]
    bare = [TrainingSettings(**SMALL).learning_rate(step) for step in range(9)]
    assert rates[:3] == pytest.approx([bare[0] / 3, bare[1] * 2 / 3, bare[2]]) and rates[3:] == bare[3:]


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(teacher_share=1.1), "field teacher_share is 1.1; a number from 0 to 1"),
        (dict(teacher_share=math.nan), "field teacher_share is nan"),
        (dict(precision="int8"), "'float32' or 'bfloat16' is needed"),
        (dict(warmup=-1), "warmup is -1"),
        (dict(clip=-0.1), "clip is -0.1"),
        (dict(clip=math.nan), "clip is nan"),
    ],
)
def test_settings_out_of_range(changed, message):
    with pytest.raises(SrTvmError, match=message):
        TrainingSettings(**SMALL | changed)


def test_mixed_precision_is_within_the_blocks_alone():
    torch.manual_seed(0)
    model, x = WDSR(SMALL["architecture"]), torch.rand(1, 3, 8, 8)
    exact = model(x)
    kinds = {}
    for name in ("head", "blocks.0.expand", "blocks.0.project", "tail", "skip"):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: kinds.__setitem__(name, out.dtype)
        )
    mixed(model, CPU, torch.bfloat16)
    rough = model(x)
    assert rough.dtype == torch.float32 and 0 < (rough - exact).abs().max() < 0.02
    assert {k for k, v in kinds.items() if v == torch.bfloat16} == {"blocks.0.expand", "blocks.0.project"}
    rough.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


def test_a_mixed_run_is_validated_and_saved_in_float32(begin):
    trainer = begin(precision="bfloat16")
    assert isinstance(trainer, Trainer)
    first = trainer.advance().loss
    assert first != begin().advance().loss
    assert fold(trainer.average)(torch.rand(1, 3, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize("has, told", [(True, "bfloat16"), (False, "float32")])
def test_bfloat16_only_where_the_hardware_has_it(monkeypatch, has, told):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0) if has else (7, 5))
    assert best_precision(CPU) == best_precision(torch.device("cuda")) == told
