"""The MLP learns a smooth latency that no line in its widths could, and survives a round trip to disk."""

import json
import math
import random
from dataclasses import replace

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.speed import mlp, physical
from sr_tvm.speed.model import SURROGATE, SpeedModel
from sr_tvm.speed.sample import Sample, block, read_csv

pytest.importorskip("torch")


def latency(n, e, m):
    """Channels are padded to fours, as on a GPU, with a saturating rate."""
    padded = [4 * math.ceil(w / 4) for w in (n, e, m)]
    work = padded[0] * padded[1] + padded[1] * padded[2] + 9 * padded[2] * padded[0]
    return 0.5 + work / 800 / (1 - math.exp(-n / 12))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "blocks.csv"
    draw = random.Random(0)
    rows = []
    for _ in range(240):
        n = draw.randint(4, 40)
        e, m = draw.randint(n, 8 * n), draw.randint(max(1, n // 2), n)
        rows.append(f"{n},{e},{m},{latency(n, e, m)}")
    path.write_text("channels,expand,linear,toy_ms\n" + "\n".join(rows) + "\n")
    return read_csv(path)[1]


@pytest.fixture(scope="module")
def model(samples):
    return mlp.fit(samples[48:], steps=1200)


def test_held_out_blocks_are_predicted(samples, model):
    rows = [abs(p / s.latency - 1) for p, s in zip(model.predict(samples[:48]), samples[:48], strict=True)]
    assert sorted(rows)[24] < 0.05


def test_the_same_seed_gives_the_same_model(samples):
    first, again = (mlp.fit(samples, steps=20).predict(samples[:5]) for _ in range(2))
    assert first == again
    assert mlp.fit(samples, steps=20, seed=1).predict(samples[:5]) != first


def test_round_trip(samples, model, tmp_path):
    path = tmp_path / "model.json"
    SpeedModel("mlp", model, SURROGATE, "ms", {"device": "toy"}, 192, 0.01).save(path)
    again = SpeedModel.load(path)
    assert again.predict(samples) == model.predict(samples)
    assert again.source == SURROGATE and again.fitted_to == {"device": "toy"} and again.error == 0.01
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(SrTvmError, match="not the weights"):
        SpeedModel.load(path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "weights": "../model.safetensors"}))
    with pytest.raises(SrTvmError, match="plain file name"):
        SpeedModel.load(path)


def test_monotone_on_latencies_that_are_not(samples, tmp_path):
    """Latencies that fall where channels grow past a multiple of 8: the line is followed, the dips are not."""
    data = [replace(s, latency=s.latency * (1 - 0.03 * (s.architecture.channels % 8))) for s in samples]
    path = tmp_path / "m.json"
    SpeedModel("mlp-monotone", mlp.fit(data, steps=600, monotone=True), SURROGATE, "ms", ends=False).save(path)
    model = SpeedModel.load(path)
    assert model.kind == "mlp-monotone" and model.predictor.monotone and not model.ends
    curve = model.predict([block(n, 60, 10, 1.0) for n in range(4, 40)])
    assert curve == sorted(curve) and curve[-1] > 1.5 * curve[0]
    errors = sorted(abs(p / s.latency - 1) for p, s in zip(model.predict(data), data, strict=True))
    assert errors[len(errors) // 2] < 0.1


def test_foreign_weights(tmp_path, samples):
    (tmp_path / "w.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(SrTvmError, match="not the weights of a speed model"):
        mlp.Mlp.load(tmp_path / "w.safetensors", (1, 1))


@pytest.mark.parametrize(("name", "value"), [("ends", [1.0] * 3), ("middle", [1.0]), ("unit", [float("nan")])])
def test_weights_of_wrong_shape_or_not_finite(tmp_path, model, name, value):
    import torch
    from safetensors.torch import load_file, save_file

    path = tmp_path / "w.safetensors"
    model.save(path)
    save_file(load_file(path) | {name: torch.tensor(value)}, path)
    with pytest.raises(SrTvmError, match="not the weights of a speed model"):
        mlp.Mlp.load(path, model.size)


def test_a_network_is_the_sum_of_its_blocks(model, samples):
    a = Architecture.uniform(2, 1, 16)
    one, three = (Sample(Architecture(2, 16, a.blocks * k), 360, 640, 1.0, whole=False) for k in (1, 3))
    first, third = model.predict([one, three])
    assert third == pytest.approx(3 * first, rel=1e-4)


def test_blocks_alone_leave_the_ends_to_the_physical_model(model, samples):
    a = Architecture.uniform(2, 3, 16)
    whole, part = (Sample(a, 360, 640, 1.0, whole=w) for w in (True, False))
    prices = physical.fit(samples[48:])
    added = model.predict([whole])[0] - model.predict([part])[0]
    assert added == pytest.approx(prices.predict([whole])[0] - prices.predict([part])[0], rel=1e-4) and added > 0


def test_another_input_size_is_refused(model):
    with pytest.raises(SrTvmError, match="360x640 pixels only"):
        model.predict([Sample(Architecture.uniform(2, 1, 16), 90, 160, 1.0)])


def test_too_few_and_mixed_sizes(samples):
    with pytest.raises(SrTvmError, match="too few for an MLP"):
        mlp.fit(samples[:4])
    mixed = [*samples[:10], Sample(samples[0].architecture, 90, 160, 1.0)]
    with pytest.raises(SrTvmError, match="one input size"):
        mlp.fit(mixed)


def test_whole_networks_have_a_price_for_their_ends():
    """Networks of depth 0 to 3: the price of head, tail and skip is learnt from whole networks."""
    nets = [Architecture.uniform(2, depth, n) for depth in range(4) for n in (8, 12, 16, 24)]
    data = [Sample(a, 90, 160, 2 + 0.1 * a.channels + len(a.blocks) * 0.3 * a.channels) for a in nets]
    fitted = mlp.fit(data, steps=800)
    shallow = [s for s in data if not s.architecture.blocks]
    for predicted, sample in zip(fitted.predict(shallow), shallow, strict=True):
        assert predicted == pytest.approx(sample.latency, rel=0.1)
