"""The pruning baselines: the same function with factors and without what is pruned, and always within the budget."""

import numpy as np
import pytest
from msgspec.structs import replace

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.speed.model import SURROGATE, SpeedModel
from sr_tvm.speed.physical import Physical

torch = pytest.importorskip("torch")

from sr_tvm.nets.wdsr import WDSR  # noqa: E402
from sr_tvm.nets.weights import fold  # noqa: E402
from sr_tvm.search import magnitude  # noqa: E402
from sr_tvm.search.penalty import latency_of, latency_of_architecture  # noqa: E402
from sr_tvm.search.scaled import BATCH_NORM, GAIN, Scaled  # noqa: E402
from sr_tvm.search.searcher import Searcher  # noqa: E402
from sr_tvm.search.settings import SearchSettings  # noqa: E402
from sr_tvm.search.supernet import Least, SuperNet  # noqa: E402
from sr_tvm.speed.differentiable import latency  # noqa: E402
from sr_tvm.training.data import Pair, Pairs  # noqa: E402

SUPERNET = Architecture(2, 10, (Block(24, 8), Block(30, 6)))
LEAST = Least(channels=3, expand=4, linear=2)
MODEL = SpeedModel("physical", Physical((2e-9, 1e-9, 3e-9, 1e-9, 1e-9, 0.005, 0.0)), SURROGATE, "ms", ends=False)
PREDICT = latency(MODEL, 90, 160, 2)
MOST = latency_of_architecture(PREDICT, SUPERNET)
CPU = torch.device("cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return WDSR(SUPERNET)


def settings(part, steps=12):
    counts = {"width_steps": steps, "depth_steps": 0, "finetune_steps": 0, "batch": 2, "patch": 8}
    return SearchSettings(SUPERNET, part * MOST, 90, 160, least=LEAST, **counts)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(3)]
    return Pairs([Pair(str(i), str(i), p.repeat(2, 0).repeat(2, 1), p) for i, p in enumerate(pictures)], 2)


def scaled(kind, seed=0):
    low = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return Scaled(network(seed), kind, LEAST, low).double().eval(), low.double()


def shake(net):
    """Factors, biases and running means far from where they began."""
    torch.manual_seed(3)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.norms.buffers()):
            if tensor.dtype.is_floating_point:
                tensor.mul_(1 + 0.5 * torch.rand_like(tensor))


@pytest.mark.parametrize("kind", [BATCH_NORM, GAIN])
def test_factors_change_nothing_at_first(kind):
    net, low = scaled(kind)
    expected = network().double()(low)
    assert float((net(low) - expected).detach().abs().max()) < 1e-6
    assert net.architecture() == SUPERNET


@pytest.mark.parametrize("kind", [BATCH_NORM, GAIN])
@pytest.mark.parametrize("part", [1.0, 0.8, 0.6])
def test_the_dense_network_equals_the_masked_one(kind, part):
    net, low = scaled(kind)
    shake(net)
    magnitude.prune(net, PREDICT, part * MOST)
    dense = net.dense()
    assert dense.architecture == net.architecture() and (dense.architecture == SUPERNET) == (part == 1.0)
    with torch.no_grad():
        assert float((dense(low) - net(low)).abs().max()) < 1e-6
        if part < 1:
            whole, _ = scaled(kind)
            shake(whole)
            assert float((whole(low) - net(low)).abs().max()) > 1e-3


@pytest.mark.parametrize("part", [0.95, 0.8, 0.7, 0.6, 0.55])
def test_pruning_lands_just_under_the_budget(part):
    net, _ = scaled(GAIN)
    told = magnitude.prune(net, PREDICT, part * MOST)
    assert told == pytest.approx(latency_of_architecture(PREDICT, net.architecture()), rel=1e-9)
    assert 0.95 * part * MOST < told <= part * MOST
    assert all(int(mask.sum()) >= net.least[group] for group, mask in net.masks.items())


def test_the_smallest_factors_go():
    net, _ = scaled(GAIN)
    weak = [3, 5, 11]
    with torch.no_grad():
        net.factors()["blocks.0.expand"][weak] = 1e-3
    # A budget that three expanded channels make room for.
    budget = latency_of_architecture(PREDICT, Architecture(2, 10, (Block(21, 8), Block(30, 6)))) + 1e-9
    magnitude.prune(net, PREDICT, budget)
    assert (~net.masks["expand0"]).nonzero().flatten().tolist() == weak
    assert all(mask.all() for group, mask in net.masks.items() if group != "expand0")


def test_what_is_kept_at_least_may_be_too_slow():
    net, _ = scaled(GAIN)
    with pytest.raises(SrTvmError, match="a latency of 0.02 cannot be reached"):
        magnitude.prune(net, PREDICT, 0.02)


@pytest.mark.parametrize("method", [magnitude.one_shot, magnitude.iterative])
def test_methods_end_within_the_budget(method, pairs):
    seen = []
    wanted = settings(0.7)
    dense = method(wanted, pairs, PREDICT, network(), CPU, lambda *now: seen.append(now))
    assert 0.95 * wanted.budget < latency_of_architecture(PREDICT, dense.architecture) <= wanted.budget
    assert [step for step, _, _ in seen] == list(range(1, 13))
    latencies = [ms for _, _, ms in seen]
    assert latencies == sorted(latencies, reverse=True)
    assert (latencies[-1] < MOST) == (method is magnitude.iterative)  # the one prunes on the way, the other at the end
    again = method(wanted, pairs, PREDICT, network(), CPU)
    for ours, theirs in zip(dense.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_with_nothing_to_prune_a_baseline_trains_as_the_search_does(pairs):
    """The same batches, optimizer, rate and clipping: the same weights."""
    wanted = replace(settings(0.7), budget=1.02 * MOST, travel=1e-3, clip=0.05)  # more than the supernet takes
    baseline = magnitude.iterative(wanted, pairs, PREDICT, network(), CPU, strength=0.0)
    searcher = Searcher(wanted, pairs, PREDICT, fold(network()))
    while searcher.step < wanted.steps - 1:
        searcher.advance()
    last = searcher.network
    searcher.advance()
    assert isinstance(last, SuperNet) and last.architecture() == baseline.architecture == SUPERNET
    begun, found = fold(network()).state_dict(), fold(last.net).state_dict()
    moved = max(float((begun[name] - found[name]).abs().max()) for name in found)
    for name, value in baseline.state_dict().items():
        assert float((value - found[name]).abs().max()) < 1e-3 * moved, name


def test_the_regularizer_shrinks_factors(pairs, monkeypatch):
    sizes: list[float] = []

    def note(net, *_):
        sizes.append(sum(float(values.sum()) for values in net.importance().values()))

    monkeypatch.setattr(magnitude, "prune", note)
    for strength in (0.0, 10.0):
        magnitude.iterative(settings(0.7, 30), pairs, PREDICT, network(), CPU, strength=strength)
    weak, strong = sizes[len(sizes) // 2 - 1], sizes[-1]
    assert strong < 0.995 * weak


def test_iterative_with_batch_norm(pairs):
    dense = magnitude.iterative(settings(0.7), pairs, PREDICT, network(), CPU, kind=BATCH_NORM)
    assert latency_of_architecture(PREDICT, dense.architecture) <= 0.7 * MOST


def test_equal_penalty_has_the_latency_and_one_gradient_for_all():
    blind = magnitude.equal(PREDICT)
    widths = [torch.tensor(10.0), torch.tensor([24.0, 30.0]), torch.tensor([8.0, 6.0]), torch.tensor([1.0, 1.0])]
    widths = [w.double().requires_grad_() for w in widths]
    value = blind(*widths)
    assert value.item() == pytest.approx(MOST, rel=1e-12)
    value.backward()
    slopes = torch.cat([w.grad.flatten() for w in widths])
    assert float(slopes.min()) == pytest.approx(float(slopes.max())) and float(slopes.min()) > 0
    with torch.no_grad():
        assert blind(*[w.detach() * 0.5 for w in widths]).item() == PREDICT(*[w * 0.5 for w in widths]).item()


def test_unknown_kind():
    with pytest.raises(ValueError, match="batch-norm or gain"):
        Scaled(network(), "size", LEAST)


def test_widths_are_those_of_the_masks():
    net, _ = scaled(GAIN)
    net.masks["linear1"][:2] = False
    assert net.architecture() == Architecture(2, 10, (Block(24, 8), Block(30, 4)))
    told = float(latency_of(PREDICT, net.widths()))
    assert told == pytest.approx(latency_of_architecture(PREDICT, net.architecture()))
