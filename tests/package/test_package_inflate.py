"""The C that undoes deflate: zlib's output at every level and kind of block, and damage of any kind without harm."""

import struct
import subprocess
import zlib

import numpy as np
import pytest

from sr_tvm.runtimes.c import NATIVE

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "sr_inflate.h"
int main(void) {  /* of each: how many bytes come, how many they make, and the bytes; prints what they make */
  uint32_t sizes[2];
  while (fread(sizes, sizeof sizes, 1, stdin) == 1) {
    uint8_t *in = malloc(sizes[0] + 1), *out = malloc(sizes[1] + 1);
    if (fread(in, 1, sizes[0], stdin) != sizes[0]) return 1;
    int failed = sr_inflate(in, sizes[0], out, sizes[1]);
    fputc(failed ? 'x' : 'o', stdout);
    if (!failed) fwrite(out, 1, sizes[1], stdout);
    free(in), free(out);
  }
  return 0;
}
"""


@pytest.fixture
def inflate(need, tmp_path):
    """Undo several at once, under sanitizers; None for those that it refuses."""
    source, program = tmp_path / "inflate.c", tmp_path / "inflate"
    source.write_text(PROGRAM)
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined")
    subprocess.run([need("gcc"), *flags, f"-I{NATIVE}", source, "-o", program], check=True, timeout=120)

    def run(cases: list[tuple[bytes, int]]) -> list[bytes | None]:
        given = b"".join(struct.pack("<II", len(data), size) + data for data, size in cases)
        out = subprocess.run([program], input=given, capture_output=True, check=True, timeout=120).stdout
        found: list[bytes | None] = []
        at = 0
        for _, size in cases:
            good = out[at : at + 1] == b"o"
            found.append(out[at + 1 : at + 1 + size] if good else None)
            at += 1 + (size if good else 0)
        assert at == len(out)
        return found

    return run


def _deflate(data: bytes, level: int, strategy: int) -> bytes:
    made = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return made.compress(data) + made.flush()


def _texts():
    random = np.random.default_rng(0)
    yield b""
    yield b"a"
    yield b"ab" * 40000  # copies that overlap what they make
    yield (NATIVE / "sr_network.h").read_bytes() * 3
    yield random.integers(0, 256, 100_000, np.uint8).tobytes()  # stored
    yield random.integers(0, 3, 70_000, np.uint8).tobytes()
    yield (
        bytes(random.integers(0, 256, 300, np.uint8))
        + bytes(32500)
        + bytes(random.integers(0, 256, 300, np.uint8)) * 200
    )


def test_what_zlib_makes(inflate):
    kinds = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
    cases = [(text, _deflate(text, level, kind)) for text in _texts() for level in (0, 1, 6, 9) for kind in kinds]
    found = inflate([(data, len(text)) for text, data in cases])
    assert all(a == text for a, (text, _) in zip(found, cases, strict=True))


def test_damage_is_refused_or_harmless(inflate):
    text = (NATIVE / "sr_plan.h").read_bytes()
    whole = _deflate(text, 9, zlib.Z_DEFAULT_STRATEGY)
    random = np.random.default_rng(1)
    assert inflate([(whole[:n], len(text)) for n in range(0, len(whole), 7)]) == [None] * len(range(0, len(whole), 7))
    assert inflate([(whole, len(text) - 1), (whole, len(text) + 1), (b"\x07", 5)]) == [None] * 3
    flipped = []
    for _ in range(2000):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        flipped.append((bytes(data), len(text)))
    assert sum(found == text for found in inflate(flipped)) < 20  # a bit behind the end counts for nothing
    noise = [(random.integers(0, 256, random.integers(1, 300), np.uint8).tobytes(), 1000) for _ in range(2000)]
    inflate(noise)  # the sanitizers would end it
