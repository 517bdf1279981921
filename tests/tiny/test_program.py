"""Programs as records: sizes, the plan of memory, JSON, the tables for C, and symbols of object files."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_tvm.errors import SrTvmError
from sr_tvm.package import elf
from sr_tvm.package.tables import ProgramTables, picture_of
from sr_tvm.package.templates import render
from sr_tvm.records.program import ALIGNMENT, OBJECT, WEIGHTS, Call, Code, Program, Stored, plan_memory
from sr_tvm.records.size import Size, SizeText
from sr_tvm.records.tensor import Tensor
from sr_tvm.system.validation import read

H, W = "height", "width"


def _tensor(name, channels, factor=1):
    return Tensor(name, (1, channels, H if factor == 1 else f"{factor}*{H}", W if factor == 1 else f"{factor}*{W}"))


def _program():
    scratch, buffers = plan_memory(
        {n: _tensor(n, 8) for n in "abc"},
        calls := (
            Call("k0", ("x", "w", "a")),
            Call("k1", ("a", "b")),
            Call("k1", ("b", "c")),
            Call("k2", ("x", "c", "y")),
        ),
    )
    return Program(
        device="cpu",
        inputs=(_tensor("x", 3),),
        outputs=(_tensor("y", 3, 2),),
        constants=(Stored(Tensor("w", (10,)), 0),),
        scratch=scratch,
        buffers=buffers,
        kernels={f"k{i}": Code(f"f{i}", Size.fixed(i), Size.fixed(100)) for i in range(3)},
        calls=calls,
        step=2,
    )


sizes = st.lists(st.tuples(st.lists(st.sampled_from((H, W)), max_size=3), st.integers(0, 1000)), max_size=4).map(
    lambda rows: sum((Size(((tuple(sorted(names)), n),)) for names, n in rows if n), Size())
)
pictures = st.fixed_dictionaries({H: st.integers(1, 3000), W: st.integers(1, 3000)})


@given(sizes, sizes, pictures)
def test_sizes_add_and_cover(a, b, at):
    assert (a + b).at(at) == a.at(at) + b.at(at)
    assert a.cover(b).at(at) >= max(a.at(at), b.at(at))
    assert a.cover(a) == a and a.cover(b) == b.cover(a)
    assert Size.parse(str(a)) == a


def test_the_size_of_a_tensor_in_words():
    assert str(Size.of(_tensor("y", 3, 2)) + Size.fixed(64)) == "64 + 48*height*width"
    assert str(Size()) == "0" and Size.parse("0") == Size()
    assert str(Size.of(Tensor("h", (1, H, 24, W), "float16"))) == "48*height*width"


@pytest.mark.parametrize("text", ["", "height", "3*", "-1", "1+1", "1 + ", "2*3", "1*__import__('os')", "9" * 30])
def test_other_sizes_are_refused(text):
    with pytest.raises(SrTvmError, match="it is|x is"):
        read(SizeText, text, "x")


def test_a_chain_needs_two_buffers_whatever_its_length():
    names = [f"t{i}" for i in range(20)]
    calls = [Call("k", (a, b)) for a, b in zip(["x", *names], [*names, "y"], strict=True)]
    stored, buffers = plan_memory({n: _tensor(n, 8) for n in names}, calls)
    assert len(buffers) == 2 and len(stored) == 20


def test_what_is_needed_later_keeps_its_buffer():
    tensors = {n: _tensor(n, 8) for n in "abc"}
    calls = [Call("k", ("x", "a")), Call("k", ("a", "b")), Call("k", ("b", "c")), Call("k", ("a", "c", "y"))]
    stored, buffers = plan_memory(tensors, calls)
    places = {s.tensor.name: s.place for s in stored}
    assert len(buffers) == 3 == len(set(places.values()))


@given(st.data())
def test_no_plan_puts_two_living_tensors_into_one_buffer(data):
    count = data.draw(st.integers(1, 12))
    names = [f"t{i}" for i in range(count)]
    calls = []
    for i, name in enumerate(names):
        read = data.draw(st.lists(st.sampled_from(names[:i]), max_size=3, unique=True)) if i else []
        calls.append(Call("k", ("x", *read, name)))
    tensors = {n: _tensor(n, data.draw(st.integers(1, 9))) for n in names}
    stored, buffers = plan_memory(tensors, calls)
    places = {s.tensor.name: s.place for s in stored}
    assert set(places) == set(names)
    held: dict[int, str] = {}
    for call in calls:
        for name in call.arguments[1:-1]:
            assert held[places[name]] == name
        held[places[call.arguments[-1]]] = call.arguments[-1]
    for s in stored:
        assert buffers[s.place].cover(Size.of(s.tensor)) == buffers[s.place]


def test_peak_counts_buffers_kernels_and_tasks():
    program = _program()
    assert len(program.buffers) == 2
    assert program.peak(3).at({H: 10, W: 20}) == 2 * 8 * 4 * 200 + 2 + 3 * 100


def test_json_round_trip(tmp_path):
    (tmp_path / OBJECT).write_bytes(b"o")
    (tmp_path / WEIGHTS).write_bytes(b"w")
    _program().save(tmp_path)
    loaded = Program.load(tmp_path)
    assert loaded.to_json() | {"digests": {}} == _program().to_json()
    (tmp_path / OBJECT).write_bytes(b"other")
    with pytest.raises(SrTvmError, match="not the file that was built"):
        Program.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calls": [{"kernel": "k9", "arguments": ["x"]}]}, "'k9', which is no kernel"),
        ({"calls": [{"kernel": "k0", "arguments": ["q"]}]}, "'q', which is no tensor"),
        ({"calls": [{"kernel": "k0", "arguments": []}]}, "arguments"),
        ({"buffers": []}, "which there is not"),
        ({"buffers": ["1*height*width"] * 2}, "does not fit"),
        ({"buffers": ["a+b"] * 2}, "a sum of products"),
        ({"buffers": [5]}, "buffers"),
        ({"constants": [{"name": "x", "shape": [1], "dtype": "float32", "place": 0}]}, "one name"),
        ({"constants": [{"name": "w", "shape": [1], "dtype": "float32", "place": -1}]}, "place"),
        ({"kernels": {"k0": {"symbol": 3, "once": "0", "per_task": "0"}}}, "symbol"),
        ({"kernels": {"k0": {"symbol": "f(); x", "once": "0", "per_task": "0"}}}, "as C has it"),
        ({"step": 0}, "step"),
        ({"inputs": []}, "inputs"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_damaged_records_are_refused(change, words):
    value = json.loads(json.dumps(_program().to_json()))
    with pytest.raises(SrTvmError, match=words):
        Program.from_json(value | change, "it")


def test_tables_for_c():
    program = _program()
    tables = ProgramTables(program, picture_of(program, "it"), "it")
    assert (
        tables.values[0]
        == "{SR_INPUT, 4, 0, {2, 32, 1}, {{1, SR_PLAIN}, {3, SR_PLAIN}, {1, SR_HEIGHT}, {1, SR_WIDTH}}}"
    )
    assert tables.calls[0] == ("f0", [0, 2, 3])
    assert tables.buffers == [[(32, 1, 1)], [(32, 1, 1)]]


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 3, 20, 30), (1, 3, 40, 60)),
        ((1, 3, H, W), (1, 3, H, f"2*{W}")),
        ((1, 3, H, W), (1, 1, f"2*{H}", f"2*{W}")),
        ((1, 3, H, H), (1, 3, f"2*{H}", f"2*{H}")),
        ((1, 2, H, W), (1, 2, H, W)),
        ((1, 3, H, W), (1, 10)),
    ],
)
def test_what_does_not_enlarge_pictures_of_any_size_is_no_package(shapes):
    import dataclasses

    given, made = (Tensor(n, s) for n, s in zip("xy", shapes, strict=True))
    program = dataclasses.replace(_program(), inputs=(given,), outputs=(made,))
    with pytest.raises(SrTvmError, match="^it: "):
        picture_of(program, "it")


def _object(names):
    """A 64-bit ELF object file with a table of symbols, the first half of them local."""
    strings, symbols = bytearray(b"\0"), bytearray(24)
    for i, name in enumerate(names):
        bind = 0 if i < len(names) // 2 else 1 + i % 2
        symbols += struct.pack("<IBBHQQ", len(strings), bind << 4, 0, 1, 0, 0)
        strings += name.encode() + b"\0"
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    table = 64 + len(symbols) + len(strings)
    struct.pack_into("<Q", header, 0x28, table)
    struct.pack_into("<HH", header, 0x3A, 64, 3)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, 64, len(symbols), 2, 0, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64 + len(symbols), len(strings), 0, 0, 1, 0)
    return bytes(header + symbols + strings + sections)


def _names(data):
    (table,) = struct.unpack_from("<Q", data, 0x28)
    symbols, strings = (struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in (1, 2))
    found = []
    for at in range(symbols[4] + 24, symbols[4] + symbols[5], 24):
        start = strings[4] + struct.unpack_from("<I", data, at)[0]
        found.append(data[start : data.index(0, start)].decode())
    return found


def test_symbols_are_renamed_but_local_ones():
    names = ["__tvm_a", "b", "__tvm_c", "d", "__TVM_e", "memset"]
    data = _object(names)
    assert _names(data) == names
    renamed = elf.rename(data, lambda name: f"net_{name}" if "tvm" in name.lower() else None)
    assert _names(renamed) == ["__tvm_a", "b", "__tvm_c", "d", "net___TVM_e", "memset"]
    for wrong in (b"", b"\x7fELF\x01\x01", data[1:]):
        with pytest.raises(SrTvmError, match="no 64-bit"):
            elf.rename(wrong, lambda name: None)


def test_texts_of_templates_cannot_break_out():
    facts = {
        "name": "n",
        "NAME": "N",
        "prefix": "n__",
        "sr_tvm": "1",
        "weight_bytes": 1,
        "model": 'a"\\*/ü',
        "target": "t",
        "device": None,
    }
    facts |= {"statuses": [("OK", "fine")], "uses": [], "symbols": [], "values": [], "buffers": [], "once": []}
    facts |= {"per_task": [], "calls": [], "channels": 3, "scale": 2, "halo": 1, "step": 1, "features": []}
    text = render("network.c", facts)
    assert '#define SR_MODEL "a\\042\\134*/\\303\\274"' in text
    assert ALIGNMENT == 64
