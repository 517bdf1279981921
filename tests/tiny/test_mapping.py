"""The fusion rules are data: whole, and as published."""

import itertools

import pytest

from sr_tvm.passes import mapping
from sr_tvm.passes.mapping import (
    Along,
    Axes,
    Decision,
    Mapping,
    combine,
    convolution_axes,
    mapping_type,
    operator_axes,
    operator_name,
    rule,
    stream,
    stronger,
    whole,
)

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


ONE, HALO, MANY, SHUFFLE = Along.ONE_TO_ONE, Along.HALO, Along.MANY_TO_MANY, Along.SHUFFLE
EXPAND = convolution_axes((1, 1), same=True, channelwise=False)
PROJECT = convolution_axes((3, 3), same=True, channelwise=False)
STRIDED = convolution_axes((3, 3), same=False, channelwise=False)


def test_axes_of_convolutions():
    assert EXPAND == (ONE, MANY, ONE, ONE) and PROJECT == (ONE, MANY, HALO, HALO) and STRIDED == (ONE, MANY, MANY, MANY)
    assert convolution_axes((3, 1), same=True, channelwise=True) == (ONE, ONE, HALO, ONE)  # depthwise
    for axes in (EXPAND, PROJECT, STRIDED, operator_axes("conv2d")):
        assert whole(axes) == mapping_type("conv2d") == M


def test_the_published_type_is_the_strongest_axis():
    assert whole(Axes(ONE, SHUFFLE, MANY, ONE)) == M and whole(Axes(ONE, SHUFFLE, SHUFFLE, ONE)) == S
    for axes, names in mapping.AXES.items():
        for name in names:
            assert mapping_type(name) == whole(axes) and operator_axes(name) == axes
    assert operator_axes("never_heard_of") is None


SHUFFLED = operator_axes("pixel_shuffle")
POOLED = operator_axes("max_pool2d")
PLAIN = operator_axes("relu")
ALL_CHANNELS = "channel: many-to-many + many-to-many -> T many-to-many"


@pytest.mark.parametrize(
    "first, second, words",
    [
        (EXPAND, EXPAND, ALL_CHANNELS),
        (
            EXPAND,
            PROJECT,
            "channel: many-to-many + many-to-many -> T many-to-many; row, column: one-to-one + halo -> T halo",
        ),
        (
            PROJECT,
            PROJECT,
            "channel: many-to-many + many-to-many -> T many-to-many; row, column: halo + halo -> T halo",
        ),
        (PLAIN, PLAIN, "batch, channel, row, column: one-to-one + one-to-one -> T one-to-one"),
        (PROJECT, SHUFFLED, "channel: many-to-many + shuffle -> T shuffle; row, column: halo + shuffle -> T shuffle"),
    ],
)
def test_what_streams(first, second, words):
    """The published table forbids the first four; they are the WDSR block."""
    joined, said = stream(first, second)
    assert joined is not None and said == words


@pytest.mark.parametrize(
    "first, second, words",
    [
        (PROJECT, POOLED, "row, column: halo + many-to-many -> X"),
        (STRIDED, PLAIN, "row, column: many-to-many + one-to-one -> X"),
        (SHUFFLED, PLAIN, "channel, row, column: shuffle + one-to-one -> X"),
        (PLAIN, operator_axes("resize2d"), "row, column: one-to-one + one-to-many -> X"),
        (PLAIN, operator_axes("permute_dims"), "batch: one-to-one + shuffle -> X"),
    ],
)
def test_what_does_not(first, second, words):
    assert stream(first, second) == (None, words)


def test_fused_types_are_again_in_the_table():
    """So that the order of merging cannot matter: what pairs may join, whole regions may."""
    for table in mapping.STREAMING.values():
        for (a, b), fused in table.items():
            for third in Along:
                assert ((fused, third) in table) == ((b, third) in table), (a, b, third)
    assert stronger(EXPAND, PROJECT) == PROJECT and stronger(PLAIN, EXPAND) == EXPAND
