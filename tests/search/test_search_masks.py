import pytest
import torch

from sr_tvm.search.masks import Choice, Mask


def test_a_mask_is_binary_and_its_gradient_goes_straight_through():
    mask = Mask(4, 1)
    with torch.no_grad():
        mask.scores.copy_(torch.tensor([0.9, 0.5, 0.51, -3.0]))
    out = mask()
    assert out.tolist() == [1, 0, 1, 0]
    (out * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert mask.scores.grad.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("least, kept", [(1, [0, 0, 1]), (2, [0, 1, 1]), (3, [1, 1, 1])])
def test_the_largest_are_kept_whatever_they_are(least, kept):
    mask = Mask(3, least)
    with torch.no_grad():
        mask.scores.copy_(torch.tensor([0.1, 0.2, 0.4]))
    assert mask().tolist() == kept
    mask.settle(torch.tensor([False, True, False]))
    assert mask.scores.tolist() == [0, 1, 0]


def test_of_equal_scores_the_first_are_kept():
    mask = Mask(20, 3)
    with torch.no_grad():
        mask.scores.zero_()
    assert mask().tolist() == [1] * 3 + [0] * 17


@pytest.mark.parametrize("least", [0, 4])
def test_a_mask_keeps_one_at_least_and_no_more_than_it_has(least):
    with pytest.raises(ValueError, match="1 to 3 is allowed"):
        Mask(3, least)


def test_the_larger_of_two_paths_is_taken():
    choice = Choice(3)
    assert choice().tolist() == [1, 1, 1]
    with torch.no_grad():
        choice.around.copy_(torch.tensor([0.6, 0.5, 0.2]))
        choice.through.copy_(torch.tensor([0.5, 0.5, 0.9]))
    out = choice()
    assert out.tolist() == [0, 1, 1]
    (out * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert choice.through.grad.tolist() == [1, 2, 3] and choice.around.grad.tolist() == [-1, -2, -3]


def test_what_disagrees_is_moved_and_confined_stays_in_range():
    mask, choice = Mask(3, 1), Choice(2)
    with torch.no_grad():
        mask.scores.copy_(torch.tensor([2.0, 0.3, -1.0]))
        choice.around.copy_(torch.tensor([1.5, 0.2]))
        choice.through.copy_(torch.tensor([-0.4, 1.7]))
    for part in (mask, choice):
        part.confine()
    assert mask.scores.tolist() == pytest.approx([1, 0.3, 0])
    assert choice.around.tolist() == pytest.approx([1, 0.2]) and choice.through.tolist() == pytest.approx([0, 1])
    mask.agree(torch.tensor([False, True, False]))
    choice.agree(torch.tensor([True, False]))
    assert mask.scores.tolist() == pytest.approx([0.49, 0.51, 0])
    assert mask.kept().tolist() == [False, True, False] and choice.kept().tolist() == [True, False]
    assert choice.margin().tolist() == pytest.approx([0.02, -0.02])
    for part, kept in ((mask, [False, True, False]), (choice, [True, False])):
        before = [p.clone() for p in part.parameters()]
        part.agree(torch.tensor(kept))  # what agrees already stays as it is
        assert all(torch.equal(a, b) for a, b in zip(before, part.parameters(), strict=True))
