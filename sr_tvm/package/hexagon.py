"""An integer artifact for Hexagon to a package: a static library with the weights inside, and a program that counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm import __version__, shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.package import licences, native, packets
from sr_tvm.package.interface import FORMATS, HEXAGON_ALIGNMENT, HEXAGON_STATUSES, HEXAGON_USES, VERSION
from sr_tvm.package.record import Package
from sr_tvm.package.templates import render, write_texts
from sr_tvm.quantize import example
from sr_tvm.records.artifact import Artifact
from sr_tvm.runtimes.c import NATIVE
from sr_tvm.runtimes.hexagon import NATIVE as HEXAGON_NATIVE
from sr_tvm.system import files
from sr_tvm.system.validation import plain
from sr_tvm.targets import link

if TYPE_CHECKING:
    from sr_tvm.targets.hexagon.integer import Facts

TARGET, MACHINE = "hexagon", "hexagon"
WIDTHS = (640, 1280)  # of pictures whose memory the README tells
COUNTED = (90, 640)  # height and width of the picture whose packets it tells
# What follows the data, for whole vectors are read at the end of what is not a multiple of one.
_BEHIND = 128
_GLOBAL = re.compile(r"^\s*\.(?:globl|weak)\s+(\S+)$", re.MULTILINE)
_CALLED = ("sr_hexagon_mark", "TVMFFIErrorSetRaisedFromCStr", "TVMFFIErrorSetRaisedFromCStrParts")


def is_hexagon(artifact: Artifact) -> bool:
    """Tell whether an artifact is for Hexagon.

    Args:
        artifact: Any artifact.

    Returns:
        True for one of that target.
    """
    return artifact.target == TARGET


def renamed(assembly: str, prefix: str) -> str:
    """Give the global symbols of assembly, and those that it calls of a runtime, a prefix, and hide them.

    Args:
        assembly: The text.
        prefix: Of the new names.

    Returns:
        The new text.
    """
    names = sorted({*_GLOBAL.findall(assembly), *_CALLED}, key=len, reverse=True)
    hidden = "".join(f"\t.hidden\t{prefix}{name}\n" for name in names)
    pattern = re.compile(rf"(?<![\w.$])(?:{'|'.join(map(re.escape, names))})(?![\w.$])")
    return pattern.sub(lambda found: prefix + found[0], assembly) + hidden


def known_scores(model_sha256: str) -> list[dict[str, Any]]:
    """Find the scores of a model that sr-tvm ships.

    Args:
        model_sha256: Of the ONNX file.

    Returns:
        Rows of "pictures", "images", "float32" and "trained", PSNR in dB; none of other models.

    Raises:
        SrTvmError: A shipped record is damaged.
    """
    for path in sorted((shipped.models() / "int8").glob("*.json")):
        record = files.read_json(path, "sr-tvm/int8-model", 1)
        if model_sha256.startswith(str(record.get("onnx") or "none")):
            return list(record["scores"])
    return []


@dataclass
class HexagonWriter:
    """The making of a package for Hexagon from ``artifact``, in ``folder``.

    ``name`` is the network's, ``scratch`` a folder for what is on the way, ``kind`` the package's form.

    Raises:
        SrTvmError: The artifact holds no integer kernels, is of an older sr-tvm, or its network takes neither RGB nor
            luma; a C library is not what is asked for.
    """

    artifact: Artifact
    name: str
    folder: Path
    scratch: Path
    kind: str

    def __post_init__(self) -> None:
        from sr_tvm.targets.hexagon import integer  # of TVM, which loads late

        where = self.artifact.folder
        if self.kind != "c":
            raise SrTvmError(f"{where}: is for {TARGET}, a DSP that no app loads from an archive: use --format c")
        if not (where / integer.FACTS).is_file():
            raise SrTvmError(
                f"{where}: is for {TARGET}, but of floats: integer kernels are packaged; 'sr-tvm quantize' the model, "
                f"then compile it with --target {TARGET}"
            )
        self.hexagon: Facts = integer.Facts.load(where / integer.FACTS)
        self.given, self.wanted = example.load(where)
        if self.hexagon.halo < 0:
            raise SrTvmError(f"{where}: does not say how far its network looks; compile the model again")
        channels, made = self.hexagon.channels
        if channels != made or channels not in (1, 3):
            raise SrTvmError(f"{where}: maps {channels} planes to {made}; 3 of RGB, or 1 of luma, can be packaged")
        self.triple, self.mcpu = integer.TRIPLE, f"-mcpu={integer.RUNNER_MCPU}"
        own = str(self.artifact.tvm_target.get("mcpu", ""))
        self.network_mcpu = f"-mcpu={own}+hvx{own.removeprefix('hexagon')}+hvx_length128b"
        self.prefix = f"{self.name}__"
        try:
            self.assembly = (where / integer.program.ASSEMBLY).read_text(encoding="utf-8")
            self.data = {"weights": (where / integer.WEIGHTS).read_bytes()}
            self.data["biases"] = (where / integer.BIASES).read_bytes()
        except (OSError, UnicodeDecodeError) as error:
            raise SrTvmError(f"{where}: a file of it can't be read ({error}); compile the model again") from None
        self.facts = self._facts(own)

    def _facts(self, mcpu: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "prefix": self.prefix,
            "sr_tvm": __version__,
            "version": VERSION,
            "model": self.artifact.model,
            "model_sha256": self.artifact.model_sha256,
            "target": self.artifact.target,
            "machine": MACHINE,
            "mcpu": mcpu,
            "alignment": HEXAGON_ALIGNMENT,
            "scale": self.hexagon.shuffle,
            "channels": self.hexagon.channels[0],
            "halo": self.hexagon.halo,
            "memory": plain(self.hexagon.memory),
            "stages": self.hexagon.stages,
            "weights_bytes": len(self.data["weights"]),
            "biases_bytes": len(self.data["biases"]),
            "statuses": HEXAGON_STATUSES,
            "uses": HEXAGON_USES,
            "formats": FORMATS,
            "schema": packets.SCHEMA,
            "schema_version": packets.VERSION,
            "scores": known_scores(self.artifact.model_sha256),
            "example_height": self.given.shape[1],
            "example_width": self.given.shape[2],
            "lines": [(width, self.hexagon.workspace(width) + HEXAGON_ALIGNMENT) for width in WIDTHS],
        }

    def write(self) -> None:
        """Write header, library, benchmark program, example, texts and record into the folder.

        Where the simulator is installed, the README also tells how many packets a picture takes.

        Raises:
            SrTvmError: The compiler is missing or fails, or the network fails in the simulator.
        """
        for place in ("include", "lib", "example", "bin", "licences"):
            (self.folder / place).mkdir()
        (self.folder / "include" / f"{self.name}.h").write_text(render("hexagon_network.h", self.facts), "utf-8")
        objects = [self._network(), self._c("network"), *(self._data(name, data) for name, data in self.data.items())]
        whole = self.scratch / f"{self.name}.o"
        native.merge(whole, objects)
        native.archive(self.folder / "lib" / f"lib{self.name}.a", [whole])
        arrays = {"given": self.given, "wanted": self.wanted}
        pieces = [self._data(name, np.ascontiguousarray(array).tobytes()) for name, array in arrays.items()]
        bench = self.folder / "bin" / f"{self.name}-bench"
        # With the options of the artifact's own program, for which zig has compiled a C library: that takes minutes.
        link.program(bench, [self._c("bench"), whole, *pieces], self.triple, "-s", self.mcpu)
        self.facts["code_bytes"] = whole.stat().st_size - sum(map(len, self.data.values()))
        self.facts["counted"] = packets.count(bench, *COUNTED) if packets.missing() is None else None
        self._texts()
        licences.copy(self.folder / "licences", musl=True)
        made = sorted(path for path in self.folder.rglob("*") if path.is_file())
        Package(
            folder=self.folder,
            name=self.name,
            model=self.artifact.model,
            model_sha256=self.artifact.model_sha256,
            target=self.artifact.target,
            machine=MACHINE,
            scale=self.hexagon.shuffle,
            channels=self.hexagon.channels[0],
            halo=self.hexagon.halo,
            weight_bytes=sum(map(len, self.data.values())),
            schedule=self.artifact.schedule,
            architecture=self.artifact.architecture,
            files={str(path.relative_to(self.folder)): path.stat().st_size for path in made},
        ).save()

    def _network(self) -> Path:
        source, made = self.scratch / "kernels.s", self.scratch / "kernels.o"
        source.write_text(renamed(self.assembly, self.prefix), encoding="utf-8")
        native.compile_c(source, made, self.triple, self.network_mcpu)
        return made

    def _c(self, template: str) -> Path:
        source, made = self.scratch / f"{template}.c", self.scratch / f"{template}.o"
        source.write_text(render(f"hexagon_{template}.c", self.facts), encoding="utf-8")
        include = (f"-I{HEXAGON_NATIVE}", f"-I{NATIVE}", f"-I{self.folder / 'include'}")
        native.compile_c(source, made, self.triple, self.mcpu, *include)
        return made

    def _data(self, name: str, data: bytes) -> Path:
        """Return an object file of bytes as read-only data, at a multiple of a vector."""
        source, made, label = self.scratch / f"{name}.S", self.scratch / f"{name}.o", f"{self.prefix}{name}"
        (self.scratch / f"{name}.bin").write_bytes(data)
        lines = (
            f'.section .rodata.{label},"a",@progbits', f".balign {HEXAGON_ALIGNMENT}", f".globl {label}",
            f".hidden {label}", f".type {label}, @object", f"{label}:", f'.incbin "{name}.bin"',
            f".size {label}, . - {label}", f".space {_BEHIND}", '.section .note.GNU-stack,"",@progbits',
        )  # fmt: skip
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        native.compile_c(source, made, self.triple, self.mcpu, f"-I{self.scratch}")
        return made

    def _texts(self) -> None:
        write_texts(self.folder, self.name, self.facts, "hexagon_")
