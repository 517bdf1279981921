"""Which compiled network a picture goes through: one for every size, or one for tiles of its own."""

from __future__ import annotations

from dataclasses import replace

from sr_tvm.records.artifact import Artifact
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import Model


def prepare(model: Model, height: int, width: int, wanted: int | None, halo: int) -> tuple[Model, Artifact, bool]:
    """Choose how a picture goes through a model, for any size or in tiles of its own, and have it compiled.

    Args:
        model: The model as it was opened.
        height: Of the picture, in input pixels.
        width: Of the picture, in input pixels.
        wanted: The side of tiles for large pictures; None as in :meth:`Model.tile`.
        halo: Input pixels to each side that an output pixel depends on.

    Returns:
        The model as it is used for the picture, its artifact, and whether that was in the cache. Where the model that
        is returned has no ``any_size``, the artifact is for tiles of one size.

    Raises:
        SrTvmError: The model cannot be compiled, or the cache folder cannot be written.
    """
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.targets import registry

    if model.any_size and model.artifact is None and registry.get(cache.TARGET).capabilities.any_size:
        artifact, cached = cache.compiled(model, None)
        if streams(artifact):
            return replace(model, onnx=None), artifact, cached  # its weights are in the artifact
    if model.artifact is None:
        model = replace(model, any_size=False)
    artifact, cached = cache.compiled(model, model.tile(height, width, wanted, halo))
    return replace(model, onnx=None), artifact, cached


def streams(artifact: Artifact) -> bool:
    """Tell whether an artifact for any size is fast: sums that do not stream have plain loops, which are not.

    Args:
        artifact: For any size.

    Returns:
        False if a kernel that sums has the default schedule.
    """
    return not any(row["reduces"] for row in artifact.kernels if row["schedule"] == "default")
