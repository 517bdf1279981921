"""Records in general: what is refused, and that the line names the place, the value and what would be right."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta

from sr_tvm.errors import SrTvmError
from sr_tvm.system.validation import CheckedRecord, Record, RecordError, Symbol, one_of, plain, read, read_whole

Width = Annotated[int, Meta(ge=1, le=4096)]


class Part(Record, frozen=True):
    width: Width
    kind: Annotated[str, one_of(("a", "b"))] = "a"


class Row(Record, frozen=True, array_like=True):
    name: str
    count: int


class Whole(CheckedRecord, frozen=True):
    scale: Literal[2, 4]
    parts: Annotated[tuple[Part, ...], Meta(max_length=3)] = ()
    named: dict[str, Part] = {}
    rows: tuple[Row, ...] = ()
    rate: Annotated[float, Meta(gt=0, le=1)] = 0.5
    symbol: Symbol | None = None

    def check(self) -> None:
        if self.rate == 1:
            raise RecordError("a rate of 1 ends nowhere")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"scale": 3}, "f.json: field scale is 3; 2 or 4 is needed"),
        ({"scale": True}, "f.json: field scale is True; 2 or 4 is needed"),
        ({"parts": [{"width": 1}, {"width": 0}]},
         "f.json: field parts[1].width is 0; a whole number from 1 to 4096 is needed"),
        ({"parts": [{}]}, "f.json: field parts[0].width is missing"),
        ({"parts": [{"width": 1, "x": 2}]}, "f.json: field parts[0]: unknown field 'x'; known are kind, width"),
        ({"parts": 5}, "f.json: field parts is 5; a list of at most 3 is needed"),
        ({"named": {"p": {"width": 1}, "q": {"width": 1, "kind": "c"}}},
         "f.json: field named.q.kind is 'c'; 'a' or 'b' is needed"),
        ({"rows": [["x", 1], ["y", "z"]]}, "f.json: field rows[1][1] is 'z'; a whole number is needed"),
        ({"rate": float("nan")}, "f.json: field rate is nan; a number above 0, at most 1 is needed"),
        ({"rate": 1}, "f.json: a rate of 1 ends nowhere"),
        ({"symbol": "1a"}, "f.json: field symbol is '1a'; a name as C has it or null is needed"),
        ({"other": 1}, "f.json: unknown field 'other'; known are named, parts, rate, rows, scale, symbol"),
    ],
)  # fmt: skip
def test_the_line(change, line):
    with pytest.raises(SrTvmError) as error:
        read(Whole, {"scale": 2} | change, "f.json")
    assert str(error.value) == line


@pytest.mark.parametrize("value", [None, [], 3, "x"])
def test_no_object(value):
    with pytest.raises(SrTvmError, match=r"^f.json is .*; an object is needed$"):
        read(Whole, value, "f.json")


def test_what_is_made_in_python_is_checked_too():
    with pytest.raises(SrTvmError, match=r"^whole: field parts\[0\]\.width is 0; a whole number from 1 to 4096"):
        Whole(2, (Part(0),))
    with pytest.raises(SrTvmError, match="^a rate of 1 ends nowhere$"):
        Whole(2, rate=1.0)


def test_there_and_back():
    import numpy as np

    made = Whole(2, (Part(3, "b"),), {"x": Part(np.int64(1))}, (Row("r", 1),))  # type: ignore[arg-type]
    assert plain(made)["rows"] == [["r", 1]] and plain(made)["parts"] == [{"width": 3, "kind": "b"}]
    assert read(Whole, plain(made), "it") == made


def test_a_whole_record_leaves_nothing_to_defaults():
    value = plain(Whole(2, (Part(1),)))
    assert read_whole(Whole, value, "it") == Whole(2, (Part(1),))
    del value["parts"][0]["kind"]
    with pytest.raises(SrTvmError, match=r"^it: field parts\[0\]\.kind is missing$"):
        read_whole(Whole, value, "it")
