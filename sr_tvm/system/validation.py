"""Records as msgspec checks them, and its errors as one line that names the file, the field and what would be right.

A record is a class of fields, and what a field may be is in its type: ``Annotated[int, Meta(ge=1, le=4096)]``.
"""

from __future__ import annotations

import functools
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, inspect

from sr_tvm.errors import SrTvmError

T = TypeVar("T")
# A step of the path that msgspec names: a field, a place in a list, or an unnamed key of an object.
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|(?P<key>\[\.\.\.\])")
_TOLD = re.compile(r"(?P<message>.*?)(?: - at `(?:key in `)?\$(?P<path>.*)`)?", re.DOTALL)
_LACKS = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_TYPES = ("Expected `", "Invalid enum value", "Invalid value", "Number out of range", "Integer value out of range")


def one_of(words: Iterable[str]) -> Meta:
    """Make the note of a type of text that is one of some words.

    Args:
        words: The words that are allowed.

    Returns:
        The note, for ``Annotated[str, ...]``; its errors list the words.
    """
    known = tuple(words)
    shown = ", ".join(repr(word) for word in known[:-1])
    return Meta(
        pattern=f"^(?:{'|'.join(map(re.escape, known))})\\Z",
        description=f"{shown} or {known[-1]!r}" if shown else repr(known[-1]),
    )


Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
MOST = sys.float_info.max
Finite = Annotated[float, Meta(ge=-MOST, le=MOST, description="a finite number")]
Amount = Annotated[float, Meta(ge=0, le=MOST, description="a finite number of 0 or more")]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,200}\Z", description="a name as C has it")]
PlainName = Annotated[str, Meta(pattern=r"^(?!\.{0,2}\Z)[^/\0]+\Z", description="a plain file name")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="a SHA-256 in hexadecimal digits")]


class RecordError(SrTvmError, ValueError):
    """A record whose fields do not go together, or not with its type. msgspec adds the place that it was read from."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields with types; :func:`read` checks them, and what is made in Python is taken as it is."""

    def to_json(self) -> dict[str, Any]:
        """Give the fields as JSON holds them.

        Returns:
            A JSON object; tuples become lists.
        """
        return plain(self)


class CheckedRecord(Record, frozen=True):
    """A record whose numbers people give, too: its fields are checked wherever it is made.

    Raises:
        SrTvmError: A field is not of its type; the message names it and says what is needed.
    """

    def __post_init__(self) -> None:
        for name, kind in _fields(type(self)):
            value = getattr(self, name)
            if not isinstance(value, msgspec.Struct) and not is_dataclass(value):  # which have checked themselves
                value = plain(value)
                try:
                    msgspec.convert(value, kind)
                except msgspec.ValidationError as error:
                    raise RecordError(_line(str(error), value, kind, _words(type(self).__name__), name)) from None
        self.check()

    def check(self) -> None:
        """Check fields that have to go together, once each is of its type; a record without such fields accepts all.

        Where they don't, a record raises RecordError.
        """


@functools.cache
def _fields(kind: type[CheckedRecord]) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in msgspec.structs.fields(kind)]


def _words(name: str) -> str:
    """Return ``StageDecisions`` as people say it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def read(kind: type[T], value: Any, where: str, field: str = "") -> T:
    """Read a value of JSON as a type.

    JSON's way: true is no number, a float may be written as 3. A field that a record has not is refused.

    Args:
        kind: A record, or a type such as ``list[str]``.
        value: As json.loads gives it.
        where: The file or the like that it is from, for messages.
        field: Of ``where``, which holds the value; "" where it is the whole.

    Returns:
        The value, of that type.

    Raises:
        SrTvmError: It is not; the message begins with ``where``, names the field, shows its value and says what is
            needed.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SrTvmError(_line(str(error), value, kind, where, field)) from None


def read_file(kind: type[T], value: Mapping[str, Any], where: str) -> T:
    """Read a file's object as a record, without its fields "schema" and "version".

    Args:
        kind: The record.
        value: The object, as :func:`sr_tvm.system.files.read_json` gives it.
        where: The file, for messages.

    Returns:
        The record.

    Raises:
        SrTvmError: As of :func:`read`.
    """
    return read(kind, without(value, "schema", "version"), where)


def read_whole(kind: type[T], value: Any, where: str) -> T:
    """Read a value as a type, no field left to its default: what is tuned means what it meant when it was found.

    Args:
        kind: A record, or a type such as ``list[str]``.
        value: As json.loads gives it.
        where: The file or the like that it is from, for messages.

    Returns:
        The value, of that type.

    Raises:
        SrTvmError: As of :func:`read`; or a field is missing.
    """
    found = read(kind, value, where)
    for path in _left_out(found, value):
        raise SrTvmError(f"{where}: field {path} is missing")
    return found


def _left_out(record: Any, value: Any, path: str = "") -> Iterator[str]:
    if isinstance(record, msgspec.Struct):
        for name in record.__struct_fields__:
            here = f"{path}.{name}" if path else name
            if name in value:
                yield from _left_out(getattr(record, name), value[name], here)
            else:
                yield here
    elif isinstance(record, (list, tuple)):
        for i, pair in enumerate(zip(record, value, strict=True)):
            yield from _left_out(*pair, f"{path}[{i}]")


def without(value: Any, *names: str) -> Any:
    """Leave out fields of an object.

    Args:
        value: Of JSON.
        *names: The fields.

    Returns:
        An object without them; a value of another kind as it is.
    """
    return {k: v for k, v in value.items() if k not in names} if isinstance(value, Mapping) else value


def plain(value: Any) -> Any:
    """Turn records into JSON.

    Args:
        value: A record, or lists and objects of such; texts and numbers may be of other libraries.

    Returns:
        Only what Python's json holds: dict, list, str, int, float, bool and None.
    """
    return _lists(msgspec.to_builtins(value, enc_hook=_built_in))


def _lists(value: Any) -> Any:
    """Return lists for tuples, which JSON has not: what was read and what is to be written are equal."""
    if isinstance(value, dict):
        return {key: _lists(part) for key, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def _built_in(value: Any) -> Any:
    """Return as Python's own what is a text or a number to it: TVM's strings are classes, NumPy's numbers too.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _line(told: str, value: Any, kind: Any, where: str, top: str = "") -> str:
    """Return what msgspec tells of ``value``, for people. ``top`` is the name of the field that holds it."""
    found = _TOLD.fullmatch(told)
    assert found is not None
    message, steps = found["message"], _STEP.finditer(found["path"] or "")
    refused = functools.partial(_refused, kind=kind, told=told)
    field, value, node = _walk(list(steps), value, inspect.type_info(kind), refused)
    field = f"{top}.{field}" if top and field and field[0] != "[" else top + field
    place = f"{where}: field {field}" if field else where
    lacks = _LACKS.fullmatch(message)
    if lacks and "missing" in message:
        return f"{where}: field {field}{'.' if field else ''}{lacks['name']} is missing"
    if lacks:
        known = ", ".join(sorted(f.encode_name for f in getattr(node, "fields", ())))
        return f"{place}: unknown field {reprlib.repr(lacks['name'])}; known are {known}"
    if message.startswith(_TYPES):
        return f"{place} is {reprlib.repr(value)}; {_needed(node)} is needed"
    return f"{place}: {message}"


def _refused(value: Any, kind: Any, told: str) -> bool:
    """Return whether ``value`` is refused with the same words."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error) == told
    return False


def _walk(
    steps: list[re.Match[str]], whole: Any, node: inspect.Type, refused: Callable[[Any], bool]
) -> tuple[str, Any, inspect.Type]:
    """Return the field that ``steps`` lead to as people write it, its value and its type."""
    value, path = whole, []
    for step in steps:
        node = _container(node, value)
        if step["field"]:
            path.append(step["field"])
            node = next(f.type for f in node.fields if f.encode_name == step["field"])  # type: ignore[attr-defined]
        elif step["index"]:
            path.append(int(step["index"]))
            node = _element(node, int(step["index"]))
        else:  # msgspec does not say which key: that which is refused when it is alone
            alone = (key for key in value if refused(_put(whole, path, {key: value[key]})))
            path.append(next(alone, next(iter(value))))
            node = node.value_type  # type: ignore[attr-defined]
        value = value[path[-1]]
    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{reprlib.repr(p)[1:-1]}" for p in path)
    return shown.removeprefix("."), value, _inner(node)


def _element(node: Any, place: int) -> inspect.Type:
    if isinstance(node, inspect.TupleType):
        return node.item_types[place]
    found: inspect.Type = node.fields[place].type if isinstance(node, inspect.StructType) else node.item_type
    return found


def _put(whole: Any, path: list[Any], value: Any) -> Any:
    """Return ``whole`` with ``value`` at ``path``."""
    if not path:
        return value
    copy: Any = dict(whole) if isinstance(whole, Mapping) else list(whole)
    copy[path[0]] = _put(copy[path[0]], path[1:], value)
    return copy


def _inner(node: inspect.Type) -> inspect.Type:
    """Return a type without what was noted of it, but for a description."""
    while isinstance(node, inspect.Metadata) and not (node.extra_json_schema or {}).get("description"):
        node = node.type
    return node


def _container(node: inspect.Type, value: Any) -> inspect.Type:
    """Return of a union the part that has elements as ``value`` has."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    if not isinstance(node, inspect.UnionType):
        return node
    parts = [_container(part, value) for part in node.types]
    return next(part for part in parts if isinstance(part, _OBJECTS if isinstance(value, Mapping) else _LISTS))


_OBJECTS = (inspect.StructType, inspect.DictType, inspect.TypedDictType, inspect.DataclassType)
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType, inspect.FrozenSetType)
_NAMES: list[tuple[Any, str]] = [
    (inspect.StrType, "text"), (inspect.BoolType, "true or false"), (inspect.NoneType, "null"),
    (_OBJECTS, "an object"), (inspect.AnyType, "anything"),
]  # fmt: skip


def _needed(node: inspect.Type) -> str:
    """Return what a type allows, in words."""
    node = _inner(node)
    if isinstance(node, inspect.Metadata):
        return str((node.extra_json_schema or {})["description"])
    if isinstance(node, inspect.UnionType):
        parts = [_needed(part) for part in node.types]
        return (", or " if any(" or " in part for part in parts) else " or ").join(parts)
    if isinstance(node, inspect.LiteralType):
        *rest, last = map(repr, node.values)
        return f"{', '.join(rest)} or {last}" if rest else last
    if isinstance(node, (inspect.IntType, inspect.FloatType)):
        return ("a whole number" if isinstance(node, inspect.IntType) else "a number") + _range(node)
    if isinstance(node, inspect.TupleType):
        return f"a list of {len(node.item_types)}"
    if isinstance(node, inspect.StructType) and node.array_like:
        return f"a list of {', '.join(f.encode_name for f in node.fields)}"
    if isinstance(node, (inspect.ListType, inspect.VarTupleType)):
        least = f" of at least {node.min_length}" if node.min_length else ""
        most = f" of at most {node.max_length}" if node.max_length is not None else ""
        return f"a list{least}{most}"
    return next((words for kinds, words in _NAMES if isinstance(node, kinds)), "another value")


def _range(node: inspect.IntType | inspect.FloatType) -> str:
    if node.ge is not None and node.le is not None:
        return f" from {node.ge:,} to {node.le:,}".replace(",", "")
    low = f" of {node.ge} or more" if node.ge is not None else f" above {node.gt}" if node.gt is not None else ""
    high = f" at most {node.le}" if node.le is not None else f" below {node.lt}" if node.lt is not None else ""
    return f"{low},{high}" if low and high else low + high
