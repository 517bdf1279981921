"""The irregular networks of the benchmarks, and the count of multiply-accumulates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import irregular, models
from benchmarks.macs import count


@pytest.mark.parametrize("seed", [0, 1, 7, 12345])
def test_irregular_networks_are_what_a_search_gives(seed: int) -> None:
    found = [irregular.architecture(name) for name in irregular.names(seed)]
    assert found == [irregular.architecture(name) for name in irregular.names(seed)] and len(found) == 3
    for a in found:
        assert a is not None and 3 <= len(a.blocks) <= 12 and 8 <= a.channels <= 28 and a.scale == 2
        assert len({b.expand for b in a.blocks}) > 1 and len({b.linear for b in a.blocks}) > 1
        assert a.macs(360, 640) < 26e9
    assert irregular.names(seed + 1)[0] not in irregular.names(seed)
    assert irregular.architecture(irregular.names(seed + 1)[0]) != found[0]


def test_names_are_told_apart() -> None:
    assert irregular.architecture("wdsr-4x16") is None and irregular.architecture("wdsr-seed0-0") is None
    assert irregular.seed_of("wdsr-seed12-3") == 12 and irregular.seed_of("vgg16") is None
    names = models.compared(3)
    assert len(names) == 9 and sum(map(models.is_wdsr, names)) == 6 and "wdsr-seed3-1" in names


def test_the_random_weights_are_the_same_every_time() -> None:
    a = irregular.architecture("wdsr-seed0-1")
    assert a is not None
    before = torch.random.get_rng_state()
    first, second = (irregular.build(a).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_multiply_accumulates() -> None:
    a = irregular.architecture("wdsr-seed0-1")
    assert a is not None
    macs, y = count(irregular.build(a), torch.zeros(1, 3, 5, 7))
    assert macs == a.macs(5, 7) and y.shape == (1, 3, 10, 14)
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.ConvTranspose2d(8, 2, 5, stride=3), nn.Flatten())
    # 9 x 9 -> 4 x 4 of 8 channels with 2 x 9 weights each; each of those 16 pixels times 8 x 2 x 25 weights.
    assert count(net, torch.zeros(2, 4, 9, 9))[0] == 2 * (16 * 8 * 18 + 16 * 8 * 2 * 25)
    assert count(nn.Linear(3, 5), torch.zeros(2, 3))[0] == 30
