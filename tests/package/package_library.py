"""A packaged library through ctypes, with memory that tells what was written outside of what may be."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int32, c_size_t, c_void_p
from pathlib import Path

import numpy as np

from sr_tvm.package.interface import CACHES, DEVICES, FORMATS, STATUSES, USES, VERSION
from sr_tvm.package.record import Package

CODES = {name: code for code, (name, _) in enumerate(STATUSES)}
USE = {name: code for code, (name, _) in enumerate(USES, 1)}
FORMAT = {name: code for code, (name, _) in enumerate(FORMATS, 1)}
DEVICE = {name: code for code, (name, _) in enumerate(DEVICES)}
CACHE = {name: code for code, (name, _) in enumerate(CACHES)}
ORDER = {"RGB": (0, 1, 2), "BGR": (2, 1, 0), "RGBA": (0, 1, 2, 3), "BGRA": (2, 1, 0, 3), "GREY": (0,)}
ROWS = CFUNCTYPE(c_int, c_void_p, c_int32, c_int32, c_void_p, c_size_t)
GUARD = 0xA5
SCALE = 2  # of the networks that are packaged
TILE = (24, 40)  # height, width: of packages for OpenCL


class Guarded:
    """``size`` bytes at ``offset`` from a multiple of 64, with a guard before and behind."""

    def __init__(self, size: int, offset: int = 0) -> None:
        self.memory = np.full(size + 256 + offset, GUARD, np.uint8)
        self.start = -self.memory.ctypes.data % 64 + 64 + offset
        self.size = size

    @property
    def bytes(self) -> np.ndarray:
        return self.memory[self.start : self.start + self.size]

    @property
    def address(self) -> int:
        return self.memory.ctypes.data + self.start

    def untouched_outside(self) -> bool:
        return bool(
            (self.memory[: self.start] == GUARD).all() and (self.memory[self.start + self.size :] == GUARD).all()
        )

    def untouched(self) -> bool:
        return bool((self.memory == GUARD).all())


class Options(ctypes.Structure):
    """How to create a network on a device."""

    _fields_ = [
        ("device", c_int32), ("cache", c_char_p), ("library", c_char_p), ("name", c_char_p), ("text", c_char_p),
        ("text_bytes", c_size_t),
    ]  # fmt: skip


class Device(ctypes.Structure):
    """What runs pictures of a size."""

    _fields_ = [
        ("device", c_int32), ("tile_height", c_int32), ("tile_width", c_int32), ("cache", c_int32),
        ("name", c_char_p), ("driver", c_char_p), ("why", c_char_p),
    ]  # fmt: skip


class Library:
    """The functions of one network; each gives its code, 0 for all went well.

    ``options`` are those that networks of a device are created with.
    """

    def __init__(self, path: Path, name: str, **options: object) -> None:
        self._library, self.path, self.name, self.options = ctypes.CDLL(str(path)), path, name, options
        self.text = self.function("text")
        self.text.restype = c_char_p

    @classmethod
    def of(cls, package: Package, **options: object) -> Library:
        """The shared library of a package."""
        return cls(package.folder / "lib" / f"lib{package.name}.so", package.name, **options)

    def function(self, name: str) -> ctypes._CFuncPtr:
        return getattr(self._library, f"{self.name}_{name}")

    def workspace_bytes(self, height: int, width: int, threads: int = 1, use: str = "TILES") -> int:
        size = c_size_t()
        code = self.function("workspace_bytes")(height, width, threads, USE[use], byref(size))
        assert code == 0, self.text(code)
        return size.value

    def with_options(self, **options: object) -> Library:
        """The same library, whose networks are created otherwise."""
        return Library(self.path, self.name, **options)

    def network(self, threads: int = 1) -> Network:
        return Network(self, threads)


class Network:
    """A network with its threads."""

    def __init__(self, library: Library, threads: int) -> None:
        self.library, self.threads, self.handle = library, threads, c_void_p()
        if library.options:
            code, said = self._create_on(**library.options)
            assert code == 0, (library.text(code), said)
            return
        code = library.function("create")(VERSION, threads, byref(self.handle))
        assert code == 0, library.text(code)

    def _create_on(self, **options: object) -> tuple[int, str]:
        given = {key: str(value).encode() for key, value in options.items() if key != "device" and value is not None}
        said = ctypes.create_string_buffer(5000)
        made = Options(DEVICE[str(options["device"])], text=ctypes.cast(said, c_char_p), text_bytes=5000, **given)
        code = self.library.function("create_on")(VERSION, self.threads, byref(made), byref(self.handle))
        return code, said.value.decode()

    @classmethod
    def refused(cls, library: Library, /, **options: object) -> tuple[int, str]:
        """The code by which a network is refused, and the text with the reason."""
        made = cls.__new__(cls)
        made.library, made.threads, made.handle = library, 1, c_void_p(5)
        code, said = made._create_on(**options)
        assert code != 0 and made.handle.value is None
        return code, said

    def device(self, height: int, width: int) -> Device:
        """What a picture of a size runs on."""
        found = Device()
        code = self.library.function("get_device")(self.handle, height, width, byref(found))
        assert code == 0, self.library.text(code)
        return found

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.library.function("destroy")(self.handle)

    def run_f32(self, x: np.ndarray, scale: int, use: str = "WHOLE", extra: int = 0, offset: int = 0) -> np.ndarray:
        """(N, C, H, W) to (N, C, sH, sW); pointers lie ``offset`` bytes from a multiple of 64."""
        code, made = self.run_f32_code(x, scale, use, extra, offset)
        assert code == 0, self.library.text(code)
        return made

    def run_f32_code(
        self, x: np.ndarray, scale: int, use: str = "WHOLE", extra: int = 0, offset: int = 0
    ) -> tuple[int, np.ndarray]:
        """As :meth:`run_f32`, with the code first."""
        images, channels, height, width = x.shape
        given = Guarded(x.nbytes, offset)
        given.bytes[:] = np.ascontiguousarray(x).view(np.uint8).ravel()
        made = Guarded(x.nbytes * scale * scale, offset)
        memory = Guarded(self.library.workspace_bytes(height, width, self.threads, use) + extra)
        code = self.library.function("run_f32")(
            self.handle, c_void_p(given.address), c_void_p(made.address), images, height, width,
            c_void_p(memory.address), c_size_t(memory.size),
        )  # fmt: skip
        assert all(m.untouched_outside() for m in (given, made, memory))
        return code, made.bytes.copy().view(np.float32).reshape(images, channels, height * scale, width * scale)

    def run_u8(
        self,
        pixels: np.ndarray,
        scale: int,
        kind: str,
        use: str = "TILES",
        gaps: tuple[int, int] = (0, 0),
        offset: int = 0,
    ) -> np.ndarray:
        """(H, W, B) bytes of a pixel format to (sH, sW, B); rows have ``gaps`` bytes behind them, which stay."""
        height, width, depth = pixels.shape
        strides = width * depth + gaps[0], width * depth * scale + gaps[1]
        given, made = Guarded(strides[0] * height, offset), Guarded(strides[1] * height * scale, offset)
        given.bytes.reshape(height, strides[0])[:, : width * depth] = pixels.reshape(height, -1)
        memory = Guarded(self.library.workspace_bytes(height, width, self.threads, use))
        code = self.library.function("run_u8")(
            self.handle, c_void_p(given.address), c_size_t(strides[0]), c_void_p(made.address), c_size_t(strides[1]),
            FORMAT[kind], height, width, c_void_p(memory.address), c_size_t(memory.size),
        )  # fmt: skip
        assert code == 0, self.library.text(code)
        assert all(m.untouched_outside() for m in (given, made, memory))
        rows = made.bytes.reshape(height * scale, strides[1])
        assert (rows[:, width * depth * scale :] == GUARD).all()
        return rows[:, : width * depth * scale].reshape(height * scale, width * scale, depth).copy()

    def run_rows(
        self, pixels: np.ndarray, scale: int, kind: str, use: str = "ROWS", fail: str = ""
    ) -> tuple[int, np.ndarray, list[tuple[int, int]], list[tuple[int, int]]]:
        """As :meth:`run_u8` by rows: the code, the result, and which rows were read and written: (first, count)."""
        height, width, depth = pixels.shape
        result = np.zeros((height * scale, width * scale, depth), np.uint8)
        read: list[tuple[int, int]] = []
        written: list[tuple[int, int]] = []

        def view(address: int, count: int, stride: int) -> np.ndarray:
            memory = np.ctypeslib.as_array(ctypes.cast(address, POINTER(ctypes.c_uint8)), (count * stride,))
            return memory.reshape(count, stride)

        def give(_: int, first: int, count: int, rows: int, stride: int) -> int:
            view(rows, count, stride)[:, : width * depth] = pixels[first : first + count].reshape(count, -1)
            read.append((first, count))
            return 7 if fail == "read" else 0

        def take(_: int, first: int, count: int, rows: int, stride: int) -> int:
            line = width * depth * scale
            result[first : first + count] = view(rows, count, stride)[:, :line].reshape(count, width * scale, depth)
            written.append((first, count))
            return 7 if fail == "write" else 0

        memory = Guarded(self.library.workspace_bytes(height, width, self.threads, use))
        functions = ROWS(give), ROWS(take)
        code = self.library.function("run_rows")(
            self.handle, *functions, None, FORMAT[kind], height, width, c_void_p(memory.address), c_size_t(memory.size)
        )
        assert memory.untouched_outside()
        return code, result, read, written
