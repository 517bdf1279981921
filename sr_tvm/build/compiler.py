"""From an ONNX file, or a Relax module, to an artifact folder for one target."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_tvm import __version__, files
from sr_tvm.artifact import MANIFEST, Artifact, Tensor, sha256
from sr_tvm.errors import SrTvmError
from sr_tvm.targets import registry
from sr_tvm.tvm_setup import import_tvm

if TYPE_CHECKING:
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.tuning.row_records import RowRecords

TUNING = "tuning"  # inside the artifact: the records its kernels were built from
ARCHITECTURE_KEY = "sr_tvm.architecture"


def compile_model(
    model_path: str | Path,
    target_name: str,
    out: str | Path,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    database_dir: str | Path | None = None,
    use_shipped_log: bool = True,
    fp16: bool = False,
    pictures: str | Path | None = None,
) -> Artifact:
    """Compile an ONNX file for a target and write the artifact into the folder ``out``, whole or not at all.

    ``input_shapes`` fixes symbolic input shapes; what stays symbolic, or is a name in them, makes an artifact for any
    size where :func:`takes_any_size`. ``database_dir`` is a folder of tuning records;
    without it, the records shipped for the target are used unless ``use_shipped_log`` is false.
    ``fp16`` lets the streaming kernels compute in float16, and measures what that costs on the ``pictures`` of a
    folder, or else on photographs that scikit-image ships.

    Raises:
        SrTvmError: unknown target, bad model, bad shape, no such database, or ``out`` cannot be written; with ``fp16``
            also a processor without float16, no pictures, or weights too large.
    """
    registry.check(target_name)
    check_output(out, database_dir)
    from sr_tvm.frontend.input_shapes import resolve_inputs, resolve_open
    from sr_tvm.frontend.onnx_file import load_onnx, model_sha256

    model = load_onnx(model_path)
    import_tvm()
    if fp16:
        _check_fp16(target_name, pictures)
    shapes = (resolve_open if takes_any_size(target_name) else resolve_inputs)(model, input_shapes)
    from sr_tvm.frontend.to_relax import import_onnx

    mod = import_onnx(model, shapes)
    names = [value.name for value in model.graph.output]
    architecture, halo, digest = _architecture(model, model_path), _halo(model), model_sha256(model_path, model)
    del model  # its weights are in the module now, and there may be half a gigabyte of them
    return compile_module(
        mod,
        target_name,
        out,
        model=Path(model_path).name,
        model_sha256=digest,
        output_names=names,
        architecture=architecture,
        halo=halo,
        database_dir=database_dir,
        use_shipped_log=use_shipped_log,
        fp16=fp16,
        pictures=pictures,
    )


def takes_any_size(target_name: str) -> bool:
    """Whether artifacts for the target may take pictures of any size: where whole networks stream as one kernel.

    Elsewhere every kernel is scheduled for the size it was compiled for, and one for any size has plain, slow loops.
    """
    return registry.get(target_name).lowering() is not None


def compile_module(
    mod: Any,
    target_name: str,
    out: str | Path,
    *,
    model: str = "module",
    model_sha256: str = "",
    output_names: Sequence[str] = (),
    architecture: dict[str, Any] | None = None,
    halo: int | None = None,
    database_dir: str | Path | None = None,
    use_shipped_log: bool = True,
    fp16: bool = False,
    pictures: str | Path | None = None,
    lowering: Lowering | None = None,
) -> Artifact:
    """Like :func:`compile_model` for a Relax module of high-level operators (``import_onnx``'s).

    ``lowering`` stands in for the target's own.
    """
    registry.check(target_name)
    check_output(out, database_dir)
    import_tvm()
    from sr_tvm.build.replay import keep_records
    from sr_tvm.evaluation.float16 import describe
    from sr_tvm.passes.pipeline import optimize
    from sr_tvm.passes.report import FILE_NAME

    target = registry.get(target_name)
    if fp16:
        _check_fp16(target_name, pictures)
        from sr_tvm.targets import float16

        lowering = float16.lowering(target)
    imported = mod
    database = _open_database(target_name, database_dir, use_shipped_log)
    rows = _open_row_records(target_name, database_dir, use_shipped_log)
    with files.atomic_folder(out) as folder:
        mod, report = optimize(mod, target.tvm_target(), lowering=lowering or target.lowering(rows))
        if database is not None:
            keep_records(mod, database, target.tvm_target(), folder / TUNING)
        if rows.used:
            rows.save(folder / TUNING, rows.used)
        mod = target.schedule(mod, database)
        kernels = target.kernels(mod)
        inputs, outputs = _signature(mod, output_names)
        library = target.build(mod, folder)
        tuned = sum(k["schedule"] == "tuned" for k in kernels)
        notes = list(target.notes)
        if database is not None or rows.records:
            source = (
                "the shipped tuning log" if database_dir is None else f"the tuning records {Path(database_dir).name}"
            )
            notes.append(f"{tuned} of {len(kernels)} kernels scheduled by {source}")
        report.save(folder / FILE_NAME)
        artifact = Artifact(
            folder=folder,
            model=model,
            model_sha256=model_sha256,
            target=target_name,
            tvm_target=_plain(target.tvm_target().export()),
            library=library,
            library_sha256=sha256(folder / library),
            inputs=inputs,
            outputs=outputs,
            schedule="tuned" if tuned else "default",
            kernels=kernels,
            notes=tuple(notes),
            versions=_versions(),
            architecture=architecture,
            halo=halo,
        )
        (describe(artifact, imported, mod, pictures) if fp16 else artifact).save()
    return Artifact.load(out)


def _check_fp16(target_name: str, pictures: str | Path | None) -> None:
    from sr_tvm.evaluation.float16 import check_pictures
    from sr_tvm.targets import float16

    float16.check(registry.get(target_name))
    check_pictures(pictures)


def check_output(out: str | Path, database_dir: str | Path | None = None) -> None:
    """Refuse, before minutes of work, an output folder whose replacement would destroy what is not an artifact.

    Raises:
        SrTvmError: ``out`` cannot be written or replaced, holds other things, or holds the tuning records that the
            build is to read.
    """
    out = Path(out)
    files.check_writable(out)
    whole, here = Path(os.path.realpath(out)), Path.cwd()
    if whole in (here, *here.parents):
        raise SrTvmError(f"cannot write {out}: the current folder is it or lies in it; name another")
    if whole.is_mount():
        raise SrTvmError(f"cannot write {out}: it is a mount point, which cannot be replaced; name a folder in it")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise SrTvmError(f"cannot write {out}: the folder holds other files; name a new folder, or an artifact's")
    if out.exists() and not out.is_dir():
        raise SrTvmError(f"cannot write {out}: a file of that name is there; name a folder")
    if database_dir is not None:
        records = Path(database_dir).resolve()
        if whole in (records, *records.parents):
            raise SrTvmError(f"the tuning records {database_dir} lie in the output folder {out}, which is replaced")


def _open_database(name: str, folder: str | Path | None, use_shipped: bool) -> Any:
    """The named records first, then the shipped ones; None when there are neither."""
    found = []
    if folder is not None or use_shipped:
        from sr_tvm.tuning import database

        if folder is not None and ((Path(folder) / database.WORKLOADS).is_file() or not _has_rows(folder)):
            found.append(database.open_database(folder, create=False))
        if use_shipped and (shipped := database.shipped_database(name)) is not None:
            found.append(shipped)
    if len(found) < 2:
        return found[0] if found else None
    from tvm.s_tir.meta_schedule.database import OrderedUnionDatabase

    return OrderedUnionDatabase(*found)


def _has_rows(folder: str | Path) -> bool:
    from sr_tvm.tuning.row_records import NAME

    return (Path(folder) / NAME).is_file()


def _open_row_records(name: str, folder: str | Path | None, use_shipped: bool) -> RowRecords:
    """Decisions of streaming regions: the named folder's first, then the shipped ones."""
    from sr_tvm.tuning import database, row_records

    folders = [Path(folder)] if folder is not None else []
    if use_shipped:
        folders += database.shipped_folders(name, file=row_records.NAME)
    return row_records.RowRecords.open(folders)


def _signature(mod: Any, output_names: Sequence[str]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    from tvm.relax import TupleType

    main = mod["main"]
    result = main.ret_ty
    outputs = list(result.fields) if isinstance(result, TupleType) else [result]
    names = list(output_names) or [f"output{i}" if i else "y" for i in range(len(outputs))]
    return (
        tuple(_tensor(p.name, p.ty) for p in main.params),
        tuple(_tensor(name, kind) for name, kind in zip(names, outputs, strict=True)),
    )


def _tensor(name: str, kind: Any) -> Tensor:
    return Tensor(name, tuple(_dim(n) for n in kind.shape), str(kind.dtype))


def _dim(size: Any) -> int | str:
    """A dimension as a number, a name, or a multiple of a name."""
    from tvm import sym, tirx

    if isinstance(size, tirx.IntImm | int):
        return int(size)
    name, *others = tirx.analysis.undefined_vars(size)
    factor, rest = sym.detect_linear_equation(size, [name]) or (0, 1)
    if others or int(rest) != 0:
        raise SrTvmError(f"an output of {size} pixels is no whole multiple of the input's")
    return name.name if int(factor) == 1 else f"{int(factor)}*{name.name}"


def _architecture(model: Any, path: str | Path) -> dict[str, Any] | None:
    for entry in model.metadata_props:
        if entry.key == ARCHITECTURE_KEY:
            try:
                value = json.loads(entry.value)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise SrTvmError(f"{path}: its metadata {ARCHITECTURE_KEY} is not a JSON object; export it again")
            return value
    return None


def _halo(model: Any) -> int | None:
    from sr_tvm.frontend.receptive_field import receptive_field

    try:
        return receptive_field(model).halo
    except SrTvmError:  # a classifier, say: it compiles, but no picture can go through it in tiles
        return None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    found = {"sr_tvm": __version__}
    for key, package in (("tvm", "apache-tvm"), ("ffi", "apache-tvm-ffi"), ("numpy", "numpy"), ("onnx", "onnx")):
        found[key] = version(package)
    return found


def _plain(value: Any) -> Any:
    """TVM's containers as plain JSON values."""
    if isinstance(value, (str, bool)) or value is None:
        return str(value) if isinstance(value, str) else value
    if isinstance(value, (int, float)):
        return value
    if hasattr(value, "items"):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "__iter__"):
        return [_plain(v) for v in value]
    return str(value)
