import pytest
import torch

from sr_tvm.search.penalty import Schedule, balance, penalty


def test_clamped_under_the_target():
    for latency, cost, slope in ((30.0, 0.0, 0.0), (40.0, 0.0, None), (60.0, 0.25, 0.0125)):
        v = torch.tensor(latency, requires_grad=True)
        out = penalty(v, 40.0, 0.5, 40.0)
        assert out.item() == pytest.approx(cost)
        out.backward()
        assert slope is None or float(v.grad) == pytest.approx(slope)


def test_the_target_comes_down_in_a_straight_line_and_stays():
    schedule = Schedule(100.0, 40.0, 4)
    assert [schedule.target(i) for i in range(6)] == [85, 70, 55, 40, 40, 40]


def test_while_depth_is_fixed_the_target_stays_above_the_floor():
    schedule = Schedule(100.0, 40.0, 4, floor=60.0, held=3)
    assert [schedule.target(i) for i in range(5)] == [85, 70, 60, 40, 40]


def test_at_the_balance_the_median_is_pulled_as_hard_as_it_is_pushed():
    noise = [torch.tensor([1.0, 4.0, 9.0]), torch.tensor([2.0, 0.0]), torch.ones(7)]
    prices = [torch.tensor([2.0, 2.0, 2.0]), torch.tensor([1.0, 1.0]), None]
    # ratios 0.5, 2, 4.5, 2; the dead one has none and the fixed ones do not count
    assert balance(noise, prices) == 2
    assert balance([torch.zeros(2)], [torch.ones(2)]) == 1
