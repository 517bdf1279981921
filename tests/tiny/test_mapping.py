"""The fusion rules are data: whole, and as published."""

import itertools

import pytest

from sr_tvm.passes import mapping
from sr_tvm.passes.mapping import Decision, Mapping, combine, mapping_type, operator_name, rule

A, E, M, R, S = Mapping


def test_every_pair_has_a_decision():
    assert set(mapping.TABLE) == set(itertools.product(Mapping, Mapping))
    for decision, result in mapping.TABLE.values():
        assert (result is None) == (decision == Decision.NEVER)


@pytest.mark.parametrize(
    "first, second, decision, result",
    [
        (A, M, "T", M), (M, A, "T", M), (M, M, "X", None), (E, M, "X", None), (M, S, "D", M), (S, S, "T", S),
        (S, R, "T", R), (R, S, "T", R), (E, A, "T", E), (A, E, "T", E), (R, M, "D", M), (S, E, "D", E),
    ],
)  # fmt: skip
def test_as_published(first, second, decision, result):
    assert combine(first, second) == (decision, result)


def test_one_to_one_is_neutral():
    """Fusing plain arithmetic after an operator never changes its type."""
    for kind in Mapping:
        assert combine(kind, A) == (Decision.ALWAYS, kind)
        assert combine(A, kind) == (Decision.ALWAYS, kind)


def test_no_operator_is_listed_twice():
    names = [name for group in mapping.OPERATORS.values() for name in group]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name, kind",
    [
        ("relax.nn.conv2d", M), ("conv2d", M), ("conv2d3", M), ("conv2d_transpose1", M), ("relax.add", A), ("add12", A),
        ("prelu", A), ("tir_clip", A), ("concatenate2", A), ("relax.permute_dims", S), ("pixel_shuffle1", S),
        ("reshape", R), ("resize2d", E), ("max_pool2d", M), ("relax.image.resize2d", E), ("never_heard_of", None),
    ],
)  # fmt: skip
def test_type_by_name(name, kind):
    assert mapping_type(name) == kind


def test_unknown_names_are_typed_by_what_tir_says():
    assert [mapping_type("odd", pattern) for pattern in (0, 1, 2, 3, 4, 8)] == [A, A, S, M, M, None]
    assert mapping_type("conv2d", 0) == M


def test_words():
    assert rule(M, A) == "many-to-many + one-to-one -> T many-to-many"
    assert rule(M, M) == "many-to-many + many-to-many -> X"
    assert operator_name("relax.nn.conv2d") == operator_name("conv2d7") == "conv2d"
