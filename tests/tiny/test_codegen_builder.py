"""The builder of TIR: tiny functions, compiled and run."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import tirx

from sr_tvm.codegen.builder import FunctionBuilder
from sr_tvm.codegen.functions import Functions
from sr_tvm.codegen.shuffles import interleave, split_vectors, transpose

LANES = 4


def run(entry, *arrays, private=None):
    """What each array holds after a call; ``private`` are functions by the variables they are called by."""
    functions = {tvm.ir.GlobalVar("f"): entry.with_attr("global_symbol", "f"), **(private or {})}
    code = tvm.compile(tvm.IRModule(functions), target={"kind": "llvm"}, tir_pipeline="s_tir")
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    code["f"](*tensors)
    return [tensor.numpy() for tensor in tensors]


def count(statement, kind):
    """How many statements of a kind there are."""
    found = []
    tvm_ffi.structural_walk(statement, (kind, found.append), order="post")
    return len(found)


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_loops(index):
    b = FunctionBuilder(index=index)
    y = b.tensor("y", (3, 1, 5))
    with b.loop("i", 3) as i, b.loop("once", 1) as j, b.loop("k", b.integer(2), start=b.integer(3)) as k:
        assert {str(v.ty.dtype) for v in (i, j, k)} == {index}
        b.store(y, b.cast(i * 10 + k, "float32"), i, j, k)
    entry = b.entry([y])
    assert count(entry.body, tirx.For) == 2
    (made,) = run(entry, np.zeros((3, 1, 5), "float32"))
    assert made[:, 0].tolist() == [[0, 0, 0, i * 10 + 3, i * 10 + 4] for i in range(3)]


def test_a_single_turn_begins_where_it_is_told():
    b = FunctionBuilder()
    y = b.tensor("y", (4,))
    with b.loop("i", 1, start=b.integer(2)) as i, b.loop("p", 1, tirx.ForKind.PARALLEL) as p:
        b.store(y, b.real(1), i + p)
    assert count(b.entry([y]).body, tirx.For) == 0
    assert run(b.entry([y]), np.zeros(4, "float32"))[0].tolist() == [0, 0, 1, 0]


def test_an_extent_known_when_it_runs():
    b, n = FunctionBuilder(index="int64"), tirx.Var("n", "int64")
    x, y = b.tensor("x", (n,)), b.tensor("y", (n,))
    with b.loop("i", n) as i:
        b.store(y, b.load(x, i) * 2, i)
    for size in (1, 5):
        assert run(b.entry([x, y]), np.ones(size, "float32"), np.zeros(size, "float32"))[1].tolist() == [2] * size


def test_when_and_otherwise_nest():
    b = FunctionBuilder()
    y = b.tensor("y", (6,))
    with b.loop("i", 6) as i:
        with b.when(i < 4):
            with b.when(i < 2):
                b.store(y, b.real(1), i)
            with b.otherwise():
                b.store(y, b.real(2), i)
        with b.otherwise(), b.loop("once", 1):
            b.store(y, b.real(3), i)
        with b.when(i > 6):
            pass
    assert run(b.entry([y]), np.zeros(6, "float32"))[0].tolist() == [1, 1, 2, 2, 3, 3]


def test_registers_add_products_of_spans():
    b = FunctionBuilder(LANES)
    x, w, y = b.tensor("x", (3, 9)), b.tensor("w", (3,)), b.tensor("y", (9,))
    kept = b.scratch("kept", LANES)
    register = b.register("sum")
    register.set(b.splat(0.5))
    with b.loop("i", 3) as i:
        register.fma(b.splat(b.scalar(w, i)), b.bind("v", b.load(x, i, 1)))
    b.store(kept, register.get(), 0)
    b.store(y, b.load(kept, 0), 5)
    b.store(y, b.load(kept, 2, lanes=2), 0, lanes=2)
    b.store_scalar(y, b.scalar(kept, 0), 2)
    numbers = np.arange(27, dtype="float32").reshape(3, 9)
    made = run(b.entry([x, w, y]), numbers, np.array([1, 2, 4], "float32"), np.zeros(9, "float32"))[2]
    total = 0.5 + np.array([1, 2, 4]) @ numbers[:, 1:5]
    assert made.tolist() == [*total[2:], total[0], 0, 0, *total]


def test_sums_in_a_wider_type_round_once():
    b = FunctionBuilder(LANES, "float16", sums="float32")
    x, y = b.tensor("x", (LANES,)), b.tensor("y", (LANES,))
    register = b.register("sum")
    register.set(b.splat(1))
    register.fma(b.load(x, 0), b.load(x, 0))
    b.store(y, register.get(), 0)
    numbers = np.array([1 / 3, 0.0317, 2.71, -9.3], "float16")
    made = run(b.entry([x, y]), numbers, np.zeros(LANES, "float16"))[1]
    assert np.array_equal(made, (1 + numbers.astype("float32") ** 2).astype("float16"))


def test_lanes_of_one_are_scalars():
    b = FunctionBuilder()
    y = b.tensor("y", (1,))
    register = b.register("sum")
    register.set(b.splat(2))
    register.fma(b.real(3), b.real(4))
    b.store(y, register.get(), 0)
    assert run(b.entry([y]), np.zeros(1, "float32"))[0].tolist() == [14]


def test_equal_private_functions_are_made_once():
    """They see their memory through pointers, flat or shaped, and are told numbers."""
    functions, made = Functions("f"), []

    def add(amount):
        def make(name):
            made.append(name)
            b = FunctionBuilder(LANES)
            flat = b.view("flat", b.pointer("p"))
            shaped = b.view("shaped", b.pointer("q"), (2, LANES))
            row, shift = b.parameter("row"), b.parameter("shift", "int64")
            b.store(shaped, b.load(flat, row * LANES) + b.splat(amount) + b.splat(b.cast(shift, "float32")), row, 0)
            return b.private(name)

        return functions.of(amount, make)

    b = FunctionBuilder()
    x, y, z = (b.tensor(name, (2, LANES)) for name in "xyz")
    for row in range(2):
        b.call(add(10), [x.data, y.data, b.integer(row), tirx.const(row, "int64")])
    b.call(add(20), [x.data, z.data, b.integer(1), tirx.const(5, "int64")])
    assert made == ["f_row0", "f_row1"] == list(functions.made)
    private = {
        functions.of(key, None): function for key, function in zip((10, 20), functions.made.values(), strict=True)
    }
    numbers, empty = np.arange(8, dtype="float32").reshape(2, LANES), np.zeros((2, LANES), "float32")
    _, first, second = run(b.entry([x, y, z]), numbers, empty, empty, private=private)
    assert np.array_equal(first, numbers + 10 + np.array([[0], [1]]))
    assert np.array_equal(second, np.stack([empty[0], numbers[1] + 25]))


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_shuffles(lanes):
    b = FunctionBuilder(lanes)
    x, y = b.tensor("x", (lanes, lanes)), b.tensor("y", (3, lanes, lanes))
    rows = [b.bind("row", b.load(x, i, 0)) for i in range(lanes)]
    pairs = [v for i in range(0, lanes, 2) for v in split_vectors(rows[i], rows[i + 1], lanes)]
    for kind, vectors in enumerate((transpose(b, rows), interleave(b, rows), pairs)):
        for i, vector in enumerate(vectors):
            b.store(y, vector, kind, i, 0)
    numbers = np.arange(lanes * lanes, dtype="float32").reshape(lanes, lanes)
    turned, zipped, split = run(b.entry([x, y]), numbers, np.zeros((3, lanes, lanes), "float32"))[1]
    assert np.array_equal(turned, numbers.T) and np.array_equal(zipped.ravel(), numbers.T.ravel())
    runs = numbers.reshape(lanes // 2, 2 * lanes)
    assert np.array_equal(split, np.stack([runs[:, ::2], runs[:, 1::2]], 1).reshape(lanes, lanes))
