"""From an ONNX file, or a Relax module, to an artifact folder for one target."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_tvm import __version__
from sr_tvm.build.options import CompileOptions, ModelFacts
from sr_tvm.build.output import check_output
from sr_tvm.errors import SrTvmError
from sr_tvm.records import program as records
from sr_tvm.records.artifact import Artifact
from sr_tvm.regions.value import FLOAT32
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.tvm_setup import import_tvm
from sr_tvm.targets import registry

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.records.tensor import Tensor
    from sr_tvm.targets.target import Target

TUNING = "tuning"  # inside the artifact: the records its kernels were built from


def compile_model(
    model: OnnxModel | str | Path,
    target: Target | str,
    out: str | Path,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    options: CompileOptions | None = None,
) -> Artifact:
    """Compile an ONNX file for a target, and write the artifact, whole or not at all.

    Args:
        model: The file, or what :func:`~sr_tvm.frontend.model.read_model` made of it: then nothing is read again.
        target: The target, or its name.
        out: The artifact's folder; an artifact that is there is replaced.
        input_shapes: Fixes symbolic input shapes, by input; what stays symbolic, or is a name in them, makes an
            artifact for any size where the target is capable of that.
        options: Choices of the build; the usual ones if None.

    Returns:
        The artifact, as it is read back.

    Raises:
        SrTvmError: Unknown target, bad model, bad shape, no such database, an element type or a host that the target
            does not have, or ``out`` cannot be written.
    """
    options = options or CompileOptions()
    if isinstance(target, str):
        registry.check(target)
    check_output(out, options.database)
    from sr_tvm.frontend.model import as_model

    model = as_model(model)
    if model.quantized:
        return _compile_integer(model, target, out, input_shapes, options)
    import_tvm()
    from sr_tvm.build.facts import facts_of
    from sr_tvm.frontend.to_relax import import_graph

    wanted = chosen(target, options)
    shapes = model.open_shapes(input_shapes) if wanted.capabilities.any_size else model.shapes(input_shapes)
    mod = import_graph(model.graph(shapes))
    facts = facts_of(model)
    del model  # its weights are in the module now, and if nobody else has it, half a gigabyte may be freed
    return compile_module(mod, wanted, out, options, facts)


def _compile_integer(
    model: OnnxModel,
    target: Target | str,
    out: str | Path,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None,
    options: CompileOptions,
) -> Artifact:
    import_tvm()
    from sr_tvm.build.integer import compile_integer

    if input_shapes:
        raise SrTvmError(f"{model.path} is quantised: its kernels take pictures of any size; leave out --input-shape")
    from sr_tvm.build.records import open_sources

    wanted = chosen(target, options)
    sources = open_sources(wanted.name, options.database, options.use_shipped_log)
    return compile_integer(model, wanted, out, _versions(), sources, options.database)


def chosen(target: Target | str, options: CompileOptions) -> Target:
    """Choose the variant of a target that a build's options ask for.

    Args:
        target: The target, or its name.
        options: Of the build; its host, processor and element type count.

    Returns:
        The variant.

    Raises:
        SrTvmError: Unknown name, or no such variant.
    """
    found = registry.get(target) if isinstance(target, str) else target
    found = found if options.host is None else found.hosted_by(options.host)
    found = found if options.mcpu is None else found.for_processor(options.mcpu)
    return found if options.dtype == FLOAT32 else found.computing_in(options.dtype)


def compile_module(
    mod: Any,
    target: Target | str,
    out: str | Path,
    options: CompileOptions | None = None,
    facts: ModelFacts | None = None,
) -> Artifact:
    """Compile a Relax module for a target, and write the artifact, whole or not at all.

    Args:
        mod: Of high-level operators, as :func:`~sr_tvm.frontend.to_relax.import_graph` makes it.
        target: The target, or its name.
        out: The artifact's folder; an artifact that is there is replaced.
        options: Choices of the build; the usual ones if None.
        facts: What the artifact tells of the model; little if None.

    Returns:
        The artifact, as it is read back.

    Raises:
        SrTvmError: Unknown target, an operator that cannot be compiled, no such database, an element type or a host
            that the target does not have, or ``out`` cannot be written.
    """
    options, facts = options or CompileOptions(), facts or ModelFacts()
    check_output(out, options.database)
    import_tvm()
    from sr_tvm.build import kernels
    from sr_tvm.build.records import Recorded, open_sources
    from sr_tvm.build.schedule import schedule
    from sr_tvm.build.signature import signature
    from sr_tvm.passes.pipeline import optimize
    from sr_tvm.passes.report import FILE_NAME

    target = chosen(target, options)
    sources = open_sources(target.name, options.database, options.use_shipped_log)
    lowering = target.lowering()
    recorded = None if lowering is None else Recorded(lowering, sources)
    with files.atomic_folder(out) as folder:
        mod, report = optimize(mod, target.tvm_target(), lowering=recorded, hooks=target)
        if recorded is not None:
            recorded.save_used(folder / TUNING)
        mod = schedule(mod, target, sources, folder / TUNING)
        rows = kernels.rows(mod, target.capabilities.device)
        inputs, outputs = signature(mod, facts.output_names)
        program = _program(mod, target, inputs, outputs, folder, facts)
        library = target.build(mod, folder, None if program is None else folder / records.FOLDER / records.OBJECT)
        if program is not None:
            program.save(folder / records.FOLDER)
        _device_program(mod, target, inputs, outputs, folder)
        report.save(folder / FILE_NAME)
        artifact = Artifact(
            folder=folder,
            model=facts.model,
            model_sha256=facts.sha256,
            target=target.name,
            tvm_target=_plain(target.tvm_target().export()),
            library=library,
            library_sha256=sha256(folder / library),
            inputs=inputs,
            outputs=outputs,
            schedule="tuned" if any(row["schedule"] == "tuned" for row in rows) else "default",
            kernels=rows,
            notes=(*target.notes, *kernels.notes(rows, sources, options.database)),
            versions=_versions(),
            architecture=None if facts.architecture is None else dict(facts.architecture),
            halo=facts.halo,
            verification=None if options.verification is None else dict(options.verification),
            fp16=None if options.dtype == FLOAT32 else {"kernels": kernels.computing_in(mod, rows, options.dtype)},
        )
        artifact.save()
    return Artifact.load(out)


def _program(
    mod: Any, target: Target, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], folder: Path, facts: ModelFacts
) -> records.Program | None:
    """Return the module's program, its folder begun; None where there is none, or its kernels run on another device."""
    from sr_tvm.build.program import NoProgram, write_program

    if target.capabilities.device != "cpu":
        return None
    try:
        program = write_program(mod, target, inputs, outputs, folder / records.FOLDER)
    except NoProgram:
        return None
    if facts.example is not None:
        facts.example.save(folder / records.FOLDER / records.REFERENCE)
    return program


def _device_program(
    mod: Any, target: Target, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], folder: Path
) -> None:
    """Write the program of a module whose kernels are OpenCL C, which the build has left in ``folder``."""
    from sr_tvm.build.device_program import write_device_program
    from sr_tvm.build.program import NoProgram

    if target.capabilities.device != "opencl":
        return
    with contextlib.suppress(NoProgram):
        write_device_program(mod, inputs, outputs, folder)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    found = {"sr_tvm": __version__}
    for key, package in (("tvm", "apache-tvm"), ("ffi", "apache-tvm-ffi"), ("numpy", "numpy"), ("onnx", "onnx")):
        found[key] = version(package)
    return found


def _plain(value: Any) -> Any:
    """Return TVM's containers as plain JSON values."""
    if isinstance(value, (str, bool)) or value is None:
        return str(value) if isinstance(value, str) else value
    if isinstance(value, (int, float)):
        return value
    if hasattr(value, "items"):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "__iter__"):
        return [_plain(v) for v in value]
    return str(value)
