"""An artifact to a package: a folder with the network as a C library, its header, an example and a benchmark."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr_tvm import __version__
from sr_tvm.errors import SrTvmError
from sr_tvm.package import android, elf, features, licences, native
from sr_tvm.package.device import Device, check_fallback, is_device
from sr_tvm.package.hexagon import HexagonWriter, is_hexagon
from sr_tvm.package.interface import CACHES, DEVICE_FUNCTIONS, DEVICES, FORMATS, FUNCTIONS, STATUSES, USES, VERSION
from sr_tvm.package.record import FILE, Package
from sr_tvm.package.tables import PictureNames, ProgramTables, picture_of
from sr_tvm.package.templates import render, write_texts
from sr_tvm.records import program as programs
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.program import Program
from sr_tvm.runtimes.c import NATIVE
from sr_tvm.system import files

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,59}")
TARGETS = ("cpu", "android-cpu")
C, ANDROID = "c", "android"
KINDS = (C, ANDROID)
# Of the peak: how far from the reference's output that of the benchmark program's example may be. Float16 has eleven
# bits, and sums of many terms lose some of them.
TOLERANCE, HALF_TOLERANCE = "1e-5", "1e-2"


def default_name(artifact: Artifact) -> str:
    """Make a name for a package: the model's, as C takes it.

    Args:
        artifact: The artifact to package.

    Returns:
        A C identifier in small letters, of 60 at most.
    """
    name = re.sub(r"[^a-z0-9]+", "_", Path(artifact.model).stem.lower()).strip("_")
    return name[:60] if _IDENTIFIER.fullmatch(name[:60]) else f"net_{name}"[:60].rstrip("_")


def write_package(
    artifact: Artifact, out: str | Path, name: str | None = None, kind: str = C, fallback: Artifact | None = None
) -> Package:
    """Write the package of an artifact for any size, whole or not at all.

    Args:
        artifact: Of a CPU, of Hexagon with integer kernels, or of OpenCL: that is for one size, which becomes that of
            tiles.
        out: The package's folder; a package that is there is replaced.
        name: The network's in C; made of the model's if None.
        kind: One of :data:`KINDS`: a C library, or the same with an archive for Android and a class for Java.
        fallback: Of an OpenCL artifact, the same network for the CPU.

    Returns:
        The record of the package.

    Raises:
        SrTvmError: The artifact has no program, does not enlarge pictures of any size, or is for a target that can't be
            packaged; ``fallback`` is missing or does not belong to it; ``name`` is no C identifier in small letters;
            ``out`` holds other things or can't be written.
    """
    name = _checked_name(artifact, name)
    _check_output(Path(out))
    with files.atomic_folder(out) as folder, tempfile.TemporaryDirectory(prefix="sr-tvm-package-") as scratch:
        if is_hexagon(artifact):
            if fallback is not None:
                raise SrTvmError(f"{artifact.folder}: is for Hexagon; --fallback is for packages of OpenCL artifacts")
            HexagonWriter(artifact, name, folder, Path(scratch), kind).write()
        else:
            _writer(artifact, name, folder, Path(scratch), kind, fallback).write()
    return Package.load(out)


def write_sources(
    artifact: Artifact, folder: Path, name: str | None = None, fallback: Artifact | None = None
) -> list[Path]:
    """Write what a package's library is compiled from.

    Args:
        artifact: Of a CPU or of OpenCL.
        folder: Which is there; a header is written beside what is returned.
        name: The network's in C; made of the model's if None.
        fallback: Of an OpenCL artifact, the same network for the CPU.

    Returns:
        A C file, which includes the headers of ``sr_tvm/runtimes/c/native``, an object file with the kernels, and
        assembly files that include the weights, and a device's kernels, which lie beside them.

    Raises:
        SrTvmError: As :func:`write_package`.
    """
    name = _checked_name(artifact, name)
    return _writer(artifact, name, folder, folder, fallback=fallback).sources(folder, folder)


def _checked_name(artifact: Artifact, name: str | None) -> str:
    name = name or default_name(artifact)
    if not _IDENTIFIER.fullmatch(name):
        raise SrTvmError(f"name {name!r} is no C identifier in small letters, of 60 at most; use for example my_net")
    return name


def _writer(
    artifact: Artifact, name: str, folder: Path, scratch: Path, kind: str = C, fallback: Artifact | None = None
) -> _Writer:
    whole = artifact
    if is_device(whole):
        artifact = check_fallback(whole, fallback)
    elif fallback is not None:
        raise SrTvmError(f"{whole.folder}: is for the CPU; --fallback is for packages of OpenCL artifacts")
    source = artifact.folder / programs.FOLDER
    if not (source / programs.FILE).is_file():
        raise SrTvmError(
            f"{artifact.folder}: holds no program for C, made for {artifact.target} by sr-tvm "
            f"{artifact.versions.get('sr_tvm', '?')}; compile the model again, with --target {' or '.join(TARGETS)}"
        )
    program = Program.load(source)
    picture = picture_of(program, str(artifact.folder))
    device = None
    if is_device(whole):
        device = Device.load(whole, picture, artifact.halo or 0, program.step)
    return _Writer(artifact, program, picture, name, folder, scratch, kind, device)


def _check_output(out: Path) -> None:
    files.check_writable(out)
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise SrTvmError(f"cannot write {out}: the folder holds other files; name a new folder, or a package's")


@dataclass
class _Writer:
    artifact: Artifact
    program: Program
    picture: PictureNames
    name: str
    folder: Path
    scratch: Path
    kind: str = C
    device: Device | None = None  # ``artifact`` is its fallback then

    def __post_init__(self) -> None:
        if self.artifact.halo is None:
            raise SrTvmError(f"{self.artifact.folder}: does not say how far its network looks; compile the model again")
        self.halo = self.artifact.halo
        self.whole = self.device.artifact if self.device else self.artifact
        self.data = {"weights": (self.artifact.folder / programs.FOLDER / programs.WEIGHTS).read_bytes()}
        self.data |= self.device.data if self.device else {}
        self.prefix = f"{self.name}__"
        self.platform = native.platform_of(self.artifact)
        self.source = self.artifact.folder / programs.FOLDER
        if self.kind == ANDROID and not self.platform.android:
            raise SrTvmError(
                f"{self.whole.folder}: is for {self.whole.target} on this machine's processor; "
                f"--format android needs {'adreno or mali' if self.device else 'android-cpu'}, compiled for a phone"
            )
        self.facts = self._facts()

    def sources(self, include: Path, rest: Path) -> list[Path]:
        """Write the header, the C file, and the kernels and data, which are linked with it.

        Returns:
            The paths of all but the header.
        """
        (include / f"{self.name}.h").write_text(render("network.h", self.facts), encoding="utf-8")
        code, kernels = rest / f"{self.name}.c", rest / "kernels.o"
        code.write_text(render("network.c", self.facts), encoding="utf-8")
        kernels.write_bytes(elf.rename((self.source / programs.OBJECT).read_bytes(), self._renamed))
        return [code, kernels, *(self._assembly(name, data, rest) for name, data in self.data.items())]

    def write(self) -> None:
        for place in ("include", "lib", "example", "bin", "licences"):
            (self.folder / place).mkdir()
        self.sources(self.folder / "include", self.scratch)
        whole = self._object(self.platform.library)
        native.archive(self.folder / "lib" / f"lib{self.name}.a", [whole])
        self._shared(whole)
        self._bench()
        self._texts()
        made = sorted(path for path in self.folder.rglob("*") if path.is_file())
        Package(
            folder=self.folder,
            name=self.name,
            model=self.artifact.model,
            model_sha256=self.artifact.model_sha256,
            target=self.whole.target,
            machine=self.platform.machine,
            scale=self.picture.scale,
            channels=self.picture.channels,
            halo=self.halo,
            weight_bytes=self.facts["weight_bytes"],
            schedule=self.whole.schedule,
            architecture=self.whole.architecture,
            files={str(path.relative_to(self.folder)): path.stat().st_size for path in made},
        ).save()

    def _shared(self, whole: Path) -> None:
        """Link the shared library and, in the form for Android, make what is made of it."""
        library = self.folder / "lib" / f"lib{self.name}.so"
        functions = FUNCTIONS + DEVICE_FUNCTIONS if self.device else FUNCTIONS
        shown, objects = [f"{self.name}_{name}" for name in functions], [whole]
        if self.kind == ANDROID:
            source, made = self.scratch / "jni.c", self.scratch / "jni.o"
            source.write_text(render("jni.c", self.facts), encoding="utf-8")
            native.compile_c(source, made, self.platform.library, f"-I{self.folder / 'include'}")
            shown += android.exports(self.name, device=self.device is not None)
            objects.append(made)
        exports = self.scratch / "exports"
        exports.write_text("{ global: " + " ".join(f"{n};" for n in shown) + " local: *; };\n", encoding="utf-8")
        native.shared(library, objects, self.platform, exports)
        if self.kind == ANDROID:
            header = self.folder / "include" / f"{self.name}.h"
            android.write(self.folder / "android", self.name, self.facts, library, header)

    def _facts(self) -> dict[str, Any]:
        tables = ProgramTables(self.program, self.picture, str(self.artifact.folder))
        sizes = {"height": 360, "width": 640}
        named = {self.picture.height: sizes["height"], self.picture.width: sizes["width"]}
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "prefix": self.prefix,
            "sr_tvm": __version__,
            "version": VERSION,
            "model": self.artifact.model,
            "model_sha256": self.artifact.model_sha256,
            "target": self.whole.target,
            "cpu_target": self.artifact.target,
            "tvm_target": self.artifact.tvm_target,
            "machine": self.platform.machine,
            "android": self.platform.android,
            "archive": self.kind == ANDROID,
            "java_class": android.java_class(self.name),
            "opencl_libraries": android.OPENCL,
            "text_bytes": android.TEXT_BYTES,
            "scale": self.picture.scale,
            "channels": self.picture.channels,
            "halo": self.artifact.halo,
            "step": self.program.step,
            "weight_bytes": sum(len(data) for name, data in self.data.items() if "weights" in name),
            "whole_bytes": self.program.peak().at(named),
            "peak": str(self.program.peak()),
            "statuses": STATUSES,
            "error_device": [code for code, _ in STATUSES].index("ERROR_DEVICE"),
            "uses": USES,
            "formats": FORMATS,
            "device": self.device.facts() if self.device else None,
            "devices": DEVICES,
            "caches": CACHES,
            "features": features.rows(self.platform.machine, self.program.features),
            "tolerance": HALF_TOLERANCE if self.artifact.fp16 or self.whole.fp16 else TOLERANCE,
            "values": tables.values,
            "buffers": tables.buffers,
            "once": tables.size(self.program.once),
            "per_task": tables.size(self.program.per_task),
            "calls": tables.calls,
            "symbols": sorted({symbol for symbol, _ in tables.calls}),
        }

    def _object(self, triple: str) -> Path:
        """Return everything of the network as one object file, whose symbols all begin with its name."""
        data = [self._data(name, data, triple) for name, data in self.data.items()]
        library, whole = self.scratch / f"library-{triple}.o", self.scratch / f"{self.name}-{triple}.o"
        include = (f"-I{NATIVE}", f"-I{self.folder / 'include'}")
        native.compile_c(self.scratch / f"{self.name}.c", library, triple, *include)
        native.merge(whole, [library, self.scratch / "kernels.o", *data])
        return whole

    def _renamed(self, symbol: str) -> str | None:
        return f"{self.prefix}{symbol}" if "tvm" in symbol.lower() else None

    def _data(self, name: str, data: bytes, triple: str) -> Path:
        made = self.scratch / f"{name}-{triple}.o"
        native.compile_c(self._assembly(name, data, self.scratch), made, triple, f"-I{self.scratch}")
        return made

    def _assembly(self, name: str, data: bytes, folder: Path) -> Path:
        """Return an assembly file of bytes as read-only data, at a multiple of 64; they lie beside it in ``folder``."""
        source = folder / f"{name}.S"
        (folder / f"{name}.bin").write_bytes(data)
        label = f"{self.prefix}{name}"
        lines = (
            f'.section .rodata.{label},"a",@progbits', ".balign 64", f".globl {label}", f".hidden {label}",
            f".type {label}, @object", f"{label}:", f'.incbin "{name}.bin"', f".size {label}, . - {label}",
            '.section .note.GNU-stack,"",@progbits',
        )  # fmt: skip
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return source

    def _bench(self) -> None:
        """Build the benchmark program, if there is an example of what the network must give."""
        reference = self.source / programs.REFERENCE
        if not reference.is_file():
            return
        with np.load(reference, allow_pickle=False) as arrays:
            given, wanted = (np.ascontiguousarray(arrays[key], np.float32) for key in ("given", "wanted"))
        triple = self.platform.library if self.device else self.platform.program
        pieces = []
        for name, array in (("given", given), ("wanted", wanted)):
            pieces.append(self._data(name, array.tobytes(), triple))
        facts = {**self.facts, "height": given.shape[2], "width": given.shape[3]}
        source, made = self.scratch / "bench.c", self.scratch / "bench.o"
        source.write_text(render("bench.c", facts), encoding="utf-8")
        native.compile_c(source, made, triple, f"-I{NATIVE}", f"-I{self.folder / 'include'}")
        output = self.folder / "bin" / f"{self.name}-bench"
        objects = [made, self._object(triple), *pieces]
        if self.device:
            native.open_program(output, objects, self.platform)
        else:
            native.program(output, objects, triple)
        self.facts["bench"] = True

    def _texts(self) -> None:
        facts = {"bench": False, **self.facts}
        write_texts(self.folder, self.name, facts)
        licences.copy(self.folder / "licences", musl=facts["bench"] and not self.device)
