import torch

from sr_tvm.search.penalty import Schedule, balance, pulls


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


def test_at_equal_prices_what_matters_little_is_pulled_hardest_for_its_noise():
    """Pull over noise, Adam's pace, is price over noise^2 and 1 at the median."""
    noise = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 2.0])]
    prices = [torch.ones(3), torch.tensor([4.0, 0.25])]
    told = [pull / n for pull, n in zip(pulls(noise, prices), noise, strict=True)]
    assert told[0].tolist() == [4, 1, 0.25] and told[1].tolist() == [4, 0.25]


def test_as_much_at_four_times_the_price_falls_as_fast_if_it_is_worth_four_times_as_much():
    """Worth is the square of the noise: a block is no dearer than its channels."""
    noise, prices = [torch.tensor([3.0] * 4 + [6.0])], [torch.tensor([1.0] * 4 + [4.0])]
    (pull,) = pulls(noise, prices)
    assert (pull / noise[0]).tolist() == [1] * 5


def test_by_price_alone_all_are_pulled_by_their_price():
    noise, prices = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([9.0])], [torch.ones(3), torch.tensor([2.0])]
    first, second = pulls(noise, prices, power=1)
    assert (first == first[0]).all() and second[0] == 2 * first[0] and (first / noise[0]).median() == 1


def test_of_dead_and_fixed_ones():
    noise = [torch.tensor([1.0, 1.0, 0.0]), torch.ones(2)]
    first, second = pulls(noise, [torch.ones(3), None])
    assert second is None and first[:2].tolist() == [1, 1] and 1 < first[2] < 100
    (only,) = pulls([torch.zeros(2)], [torch.ones(2)])
    assert only.tolist() == [1, 1]
