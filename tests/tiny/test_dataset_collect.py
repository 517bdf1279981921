"""Which networks are still to be measured: decided by the group that a measurement falls into."""

import pytest

from sr_tvm.records.measurement import Measurement
from sr_tvm.speed.collect import missing
from sr_tvm.speed.dataset import append
from sr_tvm.speed.feedback import Conditions
from sr_tvm.speed.sampling import random_architectures

WHERE = Conditions("box", "cpu", "default", 1, "thread-cpu", "ms", (1, 3, 12, 16))
CONDITIONS = {"threads": 1, "schedule": "default", "clock": "thread-cpu"}


def record(architecture, device="box", shape=(1, 3, 12, 16), unit="ms", **conditions):
    found = {**CONDITIONS, **conditions}
    return Measurement(device, "cpu", "random", "0" * 64, shape, (1.0,), unit, found, architecture.to_json())


def test_a_network_of_the_group_is_not_measured_again(tmp_path):
    first, second = random_architectures(2)
    assert missing(tmp_path / "none.jsonl", WHERE, [first, second]) == [first, second]
    append(tmp_path / "speed.jsonl", record(second))
    assert missing(tmp_path / "speed.jsonl", WHERE, [first, second]) == [first]


@pytest.mark.parametrize(
    "other",
    [
        {"schedule": "tuned"},
        {"clock": "wall"},
        {"threads": 2},
        {"device": "phone"},
        {"shape": (1, 3, 16, 12)},
        {"unit": "packets"},
    ],
)
def test_a_network_of_another_group_is(tmp_path, other):
    (network,) = random_architectures(1)
    append(tmp_path / "speed.jsonl", record(network, **other))
    assert missing(tmp_path / "speed.jsonl", WHERE, [network]) == [network]
