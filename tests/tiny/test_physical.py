"""The physical speed model finds the prices that made its data, and never a negative one."""

import math

import numpy as np
import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed import feedback, physical
from sr_tvm.speed.model import MEASURED, SpeedModel
from sr_tvm.speed.sample import FEATURES, Sample, block, csv_columns, features, read_csv
from sr_tvm.speed.sampling import random_architectures

TRUE = {
    "macs_expand": 2e-8,
    "macs_linear": 3e-8,
    "macs_project": 1e-8,
    "macs_ends": 4e-8,
    "bytes": 5e-8,
    "kernels": 0.2,
    "inference": 1.5,
}


def priced(architecture, height=90, width=160, noise=0.0, rng=None):
    found = features(Sample(architecture, height, width, 1.0))
    latency = sum(TRUE[name] * found[name] for name in FEATURES)
    return Sample(architecture, height, width, latency * math.exp(noise * rng.standard_normal() if rng else 0.0))


def test_features_of_a_network_counted_by_hand():
    found = features(Sample(Architecture(2, 4, (Block(10, 3), Block(8, 2))), 5, 7, 1.0))
    pixels = 35
    assert found["macs_expand"] == pixels * (4 * 10 + 4 * 8)
    assert found["macs_linear"] == pixels * (10 * 3 + 8 * 2)
    assert found["macs_project"] == pixels * 9 * (3 * 4 + 2 * 4)
    assert found["macs_ends"] == pixels * (9 * 3 * 4 + 9 * 4 * 12 + 25 * 3 * 12)
    assert found["kernels"] == 9 and found["inference"] == 1
    layers = [(3, 4, 3), (4, 10, 1), (10, 3, 1), (3, 4, 3), (4, 8, 1), (8, 2, 1), (2, 4, 3), (4, 12, 3), (3, 12, 5)]
    assert found["bytes"] == 4 * sum(pixels * (i + o) + i * o * k * k + o for i, o, k in layers)
    total = sum(found[name] for name in FEATURES if name.startswith("macs_"))
    assert total == Architecture(2, 4, (Block(10, 3), Block(8, 2))).macs(5, 7)


def test_true_prices_are_recovered():
    shapes = [(90, 160), (45, 80), (180, 320)]
    samples = [priced(a, *shapes[i % 3]) for i, a in enumerate(random_architectures(60))]
    found = dict(zip(FEATURES, physical.fit(samples, hold=1e-9).prices, strict=True))
    assert found == pytest.approx(TRUE, rel=1e-2)


def test_noise_gives_prices_that_still_predict():
    rng = np.random.default_rng(0)
    samples = [priced(a, noise=0.03, rng=rng) for a in random_architectures(40)]
    fresh = [priced(a) for a in random_architectures(60, seed=9)]
    model = physical.fit(samples)
    assert all(price >= 0 for price in model.prices)
    errors = [abs(p / s.latency - 1) for p, s in zip(model.predict(fresh), fresh, strict=True)]
    assert np.median(errors) < 0.02


def test_large_and_small_networks_count_the_same():
    """Relative errors: a constant that is nothing to large networks is still found from the small ones."""
    samples = [priced(a) for a in random_architectures(20)]
    model = physical.fit(samples)
    smallest = min(samples, key=lambda s: s.latency)
    assert model.predict([smallest])[0] == pytest.approx(smallest.latency, rel=0.02)


def test_few_samples_share_one_price():
    samples = [priced(a) for a in random_architectures(6)]
    model = physical.fit(samples)
    (unseen,) = [priced(a) for a in random_architectures(7)[6:]]
    assert model.predict([unseen])[0] == pytest.approx(unseen.latency, rel=0.3)
    with pytest.raises(SrTvmError, match="too few"):
        physical.fit(samples[:2])


def test_blocks_alone_price_a_whole_network():
    """Block latencies have no head, tail and skip: these get the common price, not nothing."""
    blocks = [block(n, 6 * n, n, 1e-8 * 230400 * (6 * n * n + 6 * n * n + 9 * n * n) + 0.3) for n in range(4, 30)]
    model = physical.fit(blocks)
    whole = Sample(Architecture.uniform(2, 3, 16), 360, 640, 1.0)
    part = Sample(Architecture.uniform(2, 3, 16), 360, 640, 1.0, whole=False)
    assert model.predict([whole])[0] > model.predict([part])[0] * 1.02


def measured(architecture, latency, device="cpu", **conditions):
    return Measurement(
        device, "cpu", "m", "0" * 64, (1, 3, 90, 160), (latency,), conditions=conditions,
        architecture=architecture.to_json(),
    )  # fmt: skip


def test_groups_keep_what_differs_apart():
    a, b = random_architectures(2)
    base = {"threads": 1, "schedule": "default", "clock": "wall"}
    records = [
        measured(a, 1.0, **base),
        measured(a, 3.0, **base),
        measured(b, 5.0, **base),
        measured(a, 7.0, device="phone", **base),
        measured(a, 8.0, **{**base, "threads": 2}),
        measured(a, 9.0, **{**base, "schedule": "tuned"}),
        measured(a, 9.5, **{**base, "clock": "thread-cpu"}),
        Measurement("cpu", "cpu", "vgg", "0" * 64, (1, 3, 224, 224), (1.0,)),
    ]
    groups, other = feedback.group(records)
    assert other == 1 and len(groups) == 5
    (first,) = [
        s
        for g, s in groups.items()
        if g == feedback.Conditions("cpu", "cpu", "default", 1, "wall", "ms", (1, 3, 90, 160))
    ]
    # Two runs of one network are one sample, so that leaving it out leaves out both.
    assert sorted(s.latency for s in first) == [2.0, 5.0]


def test_leave_one_out_does_not_see_the_one_left_out():
    samples = [priced(a) for a in random_architectures(12)]
    rows = feedback.leave_one_out(samples)
    assert len(rows) == 12 and feedback.error_of(rows) < 0.05
    wild = Sample(samples[3].architecture, 90, 160, samples[3].latency * 50)
    spoilt = feedback.leave_one_out([*samples[:3], wild, *samples[4:]])
    assert spoilt[3].predicted == pytest.approx(rows[3].predicted) and spoilt[3].measured == wild.latency


def test_refit_says_what_it_was_fitted_to(tmp_path):
    records = [measured(s.architecture, s.latency) for s in map(priced, random_architectures(9))]
    ((where, samples),) = feedback.group(records)[0].items()
    model, rows = feedback.refit(where, samples)
    assert model.samples == 9 and model.source == MEASURED and model.fitted_to["device"] == "cpu"
    assert model.error == feedback.error_of(rows)
    model.save(tmp_path / "model.json")
    again = SpeedModel.load(tmp_path / "model.json")
    assert again == model and again.predict(samples) == model.predict(samples)
    model, rows = feedback.refit(where, samples[:3])
    assert model.error is None and len(rows) == 3


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("kind", "forest", "field kind is 'forest'; 'physical', 'mlp' or 'mlp-monotone'"),
        ("prices", {"bytes": 1}, "field prices.macs_expand is missing"),
        ("prices", dict.fromkeys(FEATURES, -1), r"field prices.macs_expand is -1; a finite number of 0 or more"),
        ("prices", dict.fromkeys(FEATURES, "1"), "finite"),
        ("version", 99, "version"),
        ("unit", None, "unit is missing"),
        ("unit", "years", "field unit is 'years'; 'ms', 'packets' or"),
        ("source", 5, "field source is 5; 'measured' or 'stand-in'"),
        ("fitted_to", [1], r"field fitted_to is \[1\]; an object"),
        ("samples", "9", "field samples is '9'; a whole number"),
        ("error", "x", "field error is 'x'; a finite number of 0 or more, or null"),
        ("error", 10**400, "a finite number"),
        ("error", float("nan"), "field error is nan"),
        ("prices", dict.fromkeys(FEATURES, 10**400), "finite"),
    ],
)
def test_a_bad_model_file(tmp_path, field, value, says):
    import json

    path = tmp_path / "model.json"
    SpeedModel("physical", physical.Physical((1.0,) * 7), MEASURED, "ms").save(path)
    content = json.loads(path.read_text())
    if value is None:
        del content[field]
    else:
        content[field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(SrTvmError, match=says):
        SpeedModel.load(path)


def test_csv(tmp_path):
    path = tmp_path / "blocks.csv"
    path.write_text("channels,expand,linear,a_ms,b_ms\n4,24,3,2.5,7\n5,30,4,3.5,8\n")
    assert csv_columns(path) == ["a", "b"]
    device, samples = read_csv(path, "b")
    assert device == "b" and [s.latency for s in samples] == [7, 8] and not samples[0].whole
    with pytest.raises(SrTvmError, match="a, b"):
        read_csv(path)
    with pytest.raises(SrTvmError, match="no device 'c'"):
        read_csv(path, "c")
    path.write_text("channels,expand,linear,a_ms\n4,24,3,2.5\n5,30,4,-1\n")
    with pytest.raises(SrTvmError, match="line 3"):
        read_csv(path)
    path.write_text("channels,expand,linear,a_ms\n4,24\n")
    with pytest.raises(SrTvmError, match="line 2"):
        read_csv(path)
    path.write_text("a,b\n")
    with pytest.raises(SrTvmError, match="columns"):
        read_csv(path)
    with pytest.raises(SrTvmError, match="no such file"):
        read_csv(tmp_path / "none.csv")


def test_drawn_networks_are_the_same_for_the_same_seed():
    assert random_architectures(5) == random_architectures(8)[:5]
    assert random_architectures(5) != random_architectures(5, seed=1)
    assert len(set(random_architectures(50))) == 50
    with pytest.raises(SrTvmError, match="count"):
        random_architectures(0)
