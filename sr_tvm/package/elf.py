"""Renames symbols of an object file, so that two networks in one program do not meet. No binary tool is needed."""

from __future__ import annotations

import struct
from collections.abc import Callable

from sr_tvm.errors import SrTvmError

# Of a 64-bit little-endian ELF file: where the table of sections is, how large an entry is, and how many there are.
_TABLE, _COUNTS = 0x28, 0x3A
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB = 2
_LOCAL = 0


def rename(data: bytes, new: Callable[[str], str | None]) -> bytes:
    """Rename the global and weak symbols of an object file.

    The new names are appended to the file, in a copy of its table of names.

    Args:
        data: The file.
        new: Gives a symbol's new name, None for as it is.

    Returns:
        The new file.

    Raises:
        SrTvmError: It is no 64-bit little-endian ELF file.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise SrTvmError("the kernels' object file is no 64-bit little-endian ELF file")
    out = bytearray(data)
    (table,) = struct.unpack_from("<Q", data, _TABLE)
    entry, count = struct.unpack_from("<HH", data, _COUNTS)
    sections = [list(_SECTION.unpack_from(data, table + i * entry)) for i in range(count)]
    for section in sections:
        if section[1] != _SYMTAB:
            continue
        names = section[6]  # sh_link: the section of the symbols' names
        start, size = sections[names][4], sections[names][5]
        strings = bytearray(data[start : start + size])
        for at in range(section[4], section[4] + section[5], _SYMBOL.size):
            place, info = struct.unpack_from("<IB", data, at)
            if info >> 4 == _LOCAL or not place:
                continue
            end = strings.index(0, place)
            wanted = new(strings[place:end].decode())
            if wanted is not None:
                struct.pack_into("<I", out, at, len(strings))
                strings += wanted.encode() + b"\0"
        header = table + names * entry
        struct.pack_into("<QQ", out, header + 24, len(out), len(strings))  # sh_offset, sh_size
        out += strings
    return bytes(out)
