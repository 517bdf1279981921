"""What only a GPU can show: the recording itself. Not collected where PyTorch sees none (conftest.py)."""

import pytest
import torch

from sr_tvm.records.architecture import Architecture
from sr_tvm.training.batches import Cut, Resident
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import TrainingSettings

SMALL = dict(architecture=Architecture.uniform(2, 2, 8), steps=40, batch=4, patch=16, validate_every=20)


@pytest.fixture
def begin(folders, tmp_path):
    def make(graph, **changed):
        settings = TrainingSettings(**SMALL | changed)
        return prepare(settings, [folders[0]], folders[1], "cuda", 1, tmp_path / "cache", graph=graph)[0]

    return make


@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-3), ("bfloat16", 2e-2)])
def test_replayed_steps_are_the_plain_ones(begin, precision, tolerance):
    plain, replayed = begin(False, precision=precision), begin(True, precision=precision)
    for _ in range(40):
        plain.advance(), replayed.advance()
    assert replayed.gradient.repeat != replayed.gradient._first
    for a, b in zip(plain.history, replayed.history, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=tolerance)
    for a, b in zip(plain.average.parameters(), replayed.average.parameters(), strict=True):
        assert (a - b).abs().max() < tolerance


def test_a_restored_run_goes_on_as_if_never_stopped(begin, tmp_path):
    whole, parts = begin(True), begin(True)
    for _ in range(10):
        whole.advance(), parts.advance()
    parts.save(tmp_path / "checkpoint")
    parts = begin(True)
    parts.restore(tmp_path / "checkpoint")
    for _ in range(10):
        whole.advance(), parts.advance()
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-3


def test_batches_cut_on_the_device_are_those_of_the_cpu(begin):
    trainer = begin(True)
    assert isinstance(trainer.batch, Resident)
    wanted = Cut(trainer.pairs, trainer.settings, torch.device("cpu"))
    for step in range(5):
        for a, b in zip(trainer.batch(step), wanted(step), strict=True):
            assert (a.cpu() - b).abs().max() < 1e-6
            assert a.is_contiguous(memory_format=torch.channels_last)
