import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.settings import WeightsFile


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(budget=0.0), "budget is 0.0; a number above 0"),
        (dict(budget=float("nan")), "budget is nan"),
        (dict(gamma=-1.0), "gamma is -1.0"),
        (dict(travel=float("inf")), "travel is inf"),
        (dict(width_steps=-1), "field width_steps is -1; a whole number from 0 to 1000000000 is needed"),
        (dict(width_steps=0, depth_steps=0), "there would be no search"),
        (dict(batch=0), "batch is 0"),
        (dict(search_lr=2.0), "field search_lr is 2.0; a number above 0, at most 1"),
        (dict(height=4), "height is 4"),
        (dict(ema=1.0), "ema is 1.0"),
        (dict(supernet=Architecture(2, 8, ())), "no blocks"),
    ],
)
def test_numbers_out_of_range(small, changed, message):
    with pytest.raises(SrTvmError, match=message):
        small(**changed)


def test_phases_follow_each_other(small):
    s = small()
    assert [(p.name, p.begin, p.steps) for p in s.phases] == [
        ("supernet", 0, 3), ("width", 3, 6), ("depth", 9, 9), ("finetune", 18, 5)
    ]  # fmt: skip
    assert s.steps == 23 and [s.phase(i).name for i in (0, 2, 3, 17, 18, 23)] == [
        "supernet", "supernet", "width", "depth", "finetune", "finetune"
    ]  # fmt: skip
    assert s.learning_rate(0) == s.learning_rate(18) == s.lr and s.learning_rate(3) == s.search_lr
    assert s.learning_rate(22) < s.lr / 2
    assert [p.name for p in small(supernet_steps=0, width_steps=0, finetune_steps=0).phases] == ["depth", "finetune"]


def test_weights_are_remembered_by_name_and_content(small, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"abc")
    told = small(supernet_weights=WeightsFile.of(tmp_path / "w.safetensors")).to_json()
    assert told["supernet_weights"] == "w.safetensors (sha256 ba7816bf8f01cfea)"
    assert small().to_json()["supernet_weights"] is None


def test_without_a_depth_phase_every_block_stays(small):
    assert small().smallest.blocks == 1 and small(depth_steps=0).smallest.blocks == 3
