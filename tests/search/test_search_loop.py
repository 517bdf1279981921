"""Small searches, whole: what they end with, and that a stopped one ends with the same."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.search import loop
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.session import default_input, prepare
from sr_tvm.speed import known
from sr_tvm.training.checkpoint import peek
from sr_tvm.training.loop import CHECKPOINT
from sr_tvm.training.settings import WeightsFile

PHASES = {3: "width", 13: "depth", 18: "finetune", 21: "finetune"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def begin(folders, cache, small):
    def make(start=None, validate=True, device="galaxy-s21", group=None, **changed):
        settings = small(**changed)
        return prepare(settings, known.find(device), [folders[0]], start, folders[1] if validate else None, group,
                       threads=1, cache=cache)  # fmt: skip

    return make


def stop_at(step):
    def report(now):
        if now.step == step:
            raise KeyboardInterrupt

    return report


def ignore(now):
    pass


def same(a, b):
    one, other = load_file(a), load_file(b)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_search_ends_within_its_budget_with_files_that_agree(begin, tmp_path):
    searcher, seen = begin(), []
    found = loop.search(searcher, tmp_path, seen.append, {"name": "galaxy-s21"})
    assert found.inside and 7.76 <= found.latency <= 8
    assert [now.step for now in seen] == list(range(1, 24)) and seen[-1].steps == 23
    a = Architecture.load(tmp_path / "architecture.json")
    net = load_weights(tmp_path / "weights.safetensors")
    assert net.architecture == a and a.channels <= 6 and len(a.blocks) <= 3
    assert known.find("galaxy-s21").unit == "ms"
    told = json.loads((tmp_path / "history.json").read_text())
    assert told["result"] == {
        "budget": 8.0, "predicted": found.latency, "inside": True, "speed_model": {"name": "galaxy-s21"}
    }  # fmt: skip
    rows = told["rows"]
    assert [(r["step"], r["phase"]) for r in rows] == [
        (3, "supernet"), (4, "width"), (8, "width"), (9, "width"), (12, "depth"), (16, "depth"), (18, "depth"),
        (20, "finetune"), (23, "finetune"),
    ]  # fmt: skip
    assert rows[-1]["blocks"] == [[b.expand, b.linear] for b in a.blocks] and rows[-1]["latency"] == found.latency
    assert searcher.validate(net) == rows[-1]["psnr"]
    assert load_weights(tmp_path / "supernet.safetensors").architecture == searcher.settings.supernet


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the uninterrupted search, made by the first test that needs it."""
    return tmp_path_factory.mktemp("whole")


@pytest.mark.parametrize("stop", PHASES)
def test_a_resumed_search_equals_an_uninterrupted_one(begin, whole, tmp_path, monkeypatch, stop):
    """In every phase, and between two: all bits of the checkpoint, and the history."""
    if not (whole / "history.json").exists():
        loop.search(begin(), whole, ignore)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)  # after every step
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(), tmp_path / "parts", stop_at(stop + 1))
    assert peek(tmp_path / "parts" / CHECKPOINT)["step"] == stop
    resumed = begin()
    steps = []
    loop.search(resumed, tmp_path / "parts", lambda now: steps.append((now.step, now.phase)))
    assert steps[0] == (stop + 1, PHASES[stop])
    for name in (CHECKPOINT, "weights.safetensors"):
        assert same(whole / name, tmp_path / "parts" / name)
    assert (whole / "history.json").read_text() == (tmp_path / "parts/history.json").read_text()


def test_one_seed_one_result_another_seed_another(begin, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        loop.search(begin(validate=False, seed=seed, finetune_steps=1), tmp_path / name, ignore)
    paths = [tmp_path / name / "weights.safetensors" for name in "abc"]
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()


def test_blocks_in_bfloat16(begin, tmp_path):
    """All phases, beside the same search in float32: the first steps differ by rounding alone."""
    searcher, exact = begin(precision="bfloat16", validate=False), begin(validate=False)
    ours, theirs = ([s.advance().loss for _ in range(4)] for s in (searcher, exact))
    assert ours != theirs and ours == pytest.approx(theirs, rel=0.02)
    assert loop.search(begin(precision="bfloat16", validate=False), tmp_path, ignore).inside


def test_masks_are_what_fine_tuning_starts_from(begin):
    """Between the last step of the search and the first of fine-tuning the function does not change."""
    searcher = begin()
    while searcher.phase.name != "depth":
        searcher.advance()
    net = searcher.network
    while searcher.step < 18:
        searcher.advance()
    x = torch.rand(2, 3, 12, 12)
    assert searcher.architecture == net.architecture() and searcher.network is not net
    with torch.no_grad():
        assert (searcher.network(x) - net(x)).abs().max() <= 1e-6


def test_it_starts_from_the_weights_it_is_given(begin, tmp_path):
    torch.manual_seed(5)
    start = fold(WDSR(Architecture.uniform(2, 3, 6)))
    searcher = begin(start, supernet_steps=0)
    x = torch.rand(1, 3, 10, 10)
    with torch.no_grad():
        assert (searcher.network(x) - start(x)).abs().max() <= 1e-6
    assert loop.search(searcher, tmp_path, ignore).inside
    assert not (tmp_path / "supernet.safetensors").exists()
    with pytest.raises(SrTvmError, match="another architecture"):
        begin(fold(WDSR(Architecture.uniform(2, 3, 5))), supernet_steps=0)


def test_widths_first_then_depth(begin):
    searcher = begin(width_steps=20, budget=5.0)
    blocks = []
    while searcher.step < 23:
        now = searcher.advance()
        blocks.append((now.phase, len(now.architecture.blocks)))
    assert {n for phase, n in blocks if phase != "depth"} == {3}
    margins = searcher.network.blocks.margin()
    assert (margins == 1).all()
    searcher.advance()
    assert (searcher.network.blocks.margin() < 1).any()


def test_the_target_is_followed(begin):
    """What is kept comes down with it, at most 3 % above."""
    searcher = begin(supernet_steps=0, width_steps=20, depth_steps=60, finetune_steps=0, travel=8.0, budget=6.0)
    seen = [searcher.advance() for _ in range(80)]
    # One of 3 blocks is a third of the latency: so much may be missing, no more.
    assert all(now.target * 2 / 3 <= now.latency for now in seen)
    # Told is the latency that the step began with, which was led by the target of the step before.
    assert all(now.latency <= 1.03 * before.target for before, now in itertools.pairwise(seen))
    assert 5.82 <= seen[-1].latency <= 6


@pytest.mark.parametrize(
    "device, budget, message",
    [
        ("galaxy-s21", 1.0, r"smallest network .*3 blocks of 6 channels\) takes 1\.978, the largest 12\.74"),
        ("galaxy-s21", 400.0, "smallest network .* the largest 12.74"),
        ("galaxy-s10-dsp", 11.0, r"nearest network .* takes [67]\.\d+; with one block more"),
    ],
)
def test_a_budget_out_of_reach_is_told(begin, device, budget, message):
    with pytest.raises(SrTvmError, match=f"latency of {budget:g} cannot be reached: the {message}"):
        begin(device=device, budget=budget)


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(budget=7.0), "budget 8"),
        (dict(seed=4), "seed 0"),
        (dict(depth_steps=10), "depth-steps 9"),
        (dict(supernet=Architecture.uniform(2, 3, 7)), "supernet"),
    ],
)
def test_a_resume_with_other_settings_is_refused(begin, tmp_path, small, changed, message):
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(), tmp_path, stop_at(1))
    with pytest.raises(SrTvmError, match=message):
        loop.look_ahead(small(**changed), tmp_path)
    with pytest.raises(SrTvmError, match=message):
        loop.search(begin(**changed), tmp_path, ignore)


@pytest.mark.parametrize("first, then", [("a", "b"), ("a", None), (None, "a")])
def test_a_resume_with_other_supernet_weights_is_refused(begin, tmp_path, small, first, then):
    """Of the same shape, too. What the search began with is in its history."""
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        save_weights(WDSR(Architecture.uniform(2, 3, 6)), tmp_path / f"{name}.safetensors")
    files = {name: WeightsFile.of(tmp_path / f"{name}.safetensors") for name in "ab"} | {None: None}
    few = dict(supernet_steps=0, width_steps=2, depth_steps=2, finetune_steps=1)
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(supernet_weights=files[first], **few), tmp_path, stop_at(1))
    told = [str(files[name] or "none").replace("(", r"\(").replace(")", r"\)") for name in (first, then)]
    message = f"checkpoint.safetensors: began with the supernet weights {told[0]}, now they are {told[1]}"
    with pytest.raises(SrTvmError, match=message):
        loop.look_ahead(small(supernet_weights=files[then], **few), tmp_path)
    with pytest.raises(SrTvmError, match=message):
        loop.search(begin(supernet_weights=files[then], **few), tmp_path, ignore)
    loop.search(begin(supernet_weights=files[first], **few), tmp_path, ignore)
    run = json.loads((tmp_path / "history.json").read_text())["run"]
    assert run["supernet_weights"] == (files[first] and str(files[first]))


def test_the_weights_in_the_settings_are_what_is_searched(begin, tmp_path):
    torch.manual_seed(5)
    start, x = fold(WDSR(Architecture.uniform(2, 3, 6))), torch.rand(1, 3, 10, 10)
    save_weights(start, tmp_path / "w.safetensors")
    searcher = begin(supernet_steps=0, supernet_weights=WeightsFile.of(tmp_path / "w.safetensors"))
    with torch.no_grad():
        assert (searcher.network(x) - start(x)).abs().max() <= 1e-6


def test_pictures_too_small_to_score_on_are_found_out_before_the_first_step(folders, small, cache, tmp_path):
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "tiny.png")
    told = []
    with pytest.raises(SrTvmError, match="none of its 1 pictures can be used"):
        prepare(small(), known.find("galaxy-s21"), [folders[0]], None, tmp_path, cache=cache, warn=told.append)
    assert len(told) == 1 and "tiny.png: too small to compare" in told[0]


def test_pictures_to_score_on_are_kept(folders, small, cache, tmp_path):
    import shutil

    mine = shutil.copytree(folders[1], tmp_path / "mine")
    searcher = prepare(small(), known.find("galaxy-s21"), [folders[0]], None, mine, threads=1, cache=cache)
    shutil.rmtree(mine)
    assert 0 < searcher.validate(searcher.dense) < 60


class Threads(ProcessGroup):
    """Processes that are threads of this one, as far as numbers go."""

    def __init__(self, rank, size, barrier, told):
        super().__init__(rank, size)
        self.barrier, self.told = barrier, told

    @classmethod
    def of(cls, size):
        barrier, told = threading.Barrier(size, timeout=60), {}
        return [cls(rank, size, barrier, told) for rank in range(size)]

    def mean(self, tensors, extra=()):
        assert not tensors
        self.told[self.rank] = np.array(extra, np.float32)
        self.barrier.wait()
        found = np.sum([self.told[rank] for rank in range(self.size)], axis=0, dtype=np.float32) / np.float32(self.size)
        self.barrier.wait()
        return found.tolist()

    def wait(self):
        self.barrier.wait()


def outcomes(group, work):
    """What ``work`` returns or raises in each."""
    with ThreadPoolExecutor(len(group)) as pool:
        waiting = [pool.submit(work, member) for member in group]
        return [job.exception() or job.result() for job in waiting]


@pytest.mark.parametrize(
    "steps, alike", [((7, 7), True), ((0, 7), False), ((0, 5, 10), False), ((999999937,) * 3, True), ((4096, 0), False)]
)
def test_processes_at_different_steps_all_know(steps, alike):
    assert outcomes(Threads.of(len(steps)), lambda g: loop.agree(g, steps[g.rank])) == [alike] * len(steps)


def test_processes_that_do_not_see_one_checkpoint_all_stop(begin, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(validate=False), tmp_path / "0", stop_at(3))
    group = Threads.of(2)
    with ThreadPoolExecutor(1) as other:  # the leader prepares first, the other waits for it
        late = other.submit(begin, validate=False, group=group[1])
        searchers = [begin(validate=False, group=group[0]), late.result()]
    found = outcomes(group, lambda g: loop.search(searchers[g.rank], tmp_path / str(g.rank), ignore))
    for rank, error in enumerate(found):
        assert isinstance(error, SrTvmError) and f"{tmp_path / str(rank)}: not all processes see" in str(error)


def damage(path, change):
    from safetensors import safe_open

    with safe_open(path, "pt") as handle:
        told = json.loads(handle.metadata()["training"])
    tensors = load_file(path)
    change(tensors, told["state"], told)
    save_file(tensors, path, {"training": json.dumps(told)})


DAMAGES = {
    "missing tensor": lambda t, s, c: t.pop("network.head.bias"),
    "not a number": lambda t, s, c: t["average.head.bias"].fill_(float("nan")),
    "no counters": lambda t, s, c: s.pop("loss_sum"),
    "history": lambda t, s, c: s.update(history=[{"step": 1, "phase": "x", "channels": 3, "blocks": [[1]]}]),
    "a row that is a number": lambda t, s, c: s.update(history=[1]),
    "a row that is a text": lambda t, s, c: s.update(history=["abc"]),
    "a row that is nothing": lambda t, s, c: s.update(history=[None]),
    "no rows": lambda t, s, c: s.update(history={"a": 1}),
    "step": lambda t, s, c: c.update(step=1000),
    "wide": lambda t, s, c: s["architecture"].update(channels=4000),
    "many blocks": lambda t, s, c: s["architecture"].update(blocks=[{"expand": 8, "linear": 3}] * 9),
    "no architecture": lambda t, s, c: s.update(architecture=None),
    "width": lambda t, s, c: s["architecture"]["blocks"][0].update(expand=True),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoints_are_refused(begin, tmp_path, monkeypatch, change):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(validate=False), tmp_path, stop_at(20))
    damage(tmp_path / CHECKPOINT, change)
    with pytest.raises(SrTvmError, match="checkpoint.safetensors"):
        loop.search(begin(validate=False), tmp_path, ignore)


def test_numbers_that_are_not_finite_never_replace_a_checkpoint(begin, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(validate=False), tmp_path, stop_at(2))
    before = (tmp_path / CHECKPOINT).read_bytes()
    searcher = begin(validate=False)

    def spoil(now):
        with torch.no_grad():
            searcher.network.net.head.bias.fill_(float("nan"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.search(searcher, tmp_path, spoil)
    with pytest.raises(SrTvmError, match="not of finite numbers by step 1; start again with a smaller --lr than 0.006"):
        loop.save(searcher, tmp_path / CHECKPOINT)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_loss_that_is_not_a_number_stops_the_search(begin):
    searcher = begin()
    with torch.no_grad():
        searcher.network.net.head.bias.fill_(float("inf"))
    with pytest.raises(SrTvmError, match="smaller --lr"):
        searcher.advance()


def test_the_input_of_a_720p_output():
    assert [default_input(s) for s in (2, 3, 4)] == [(360, 640), (240, 427), (180, 320)]
