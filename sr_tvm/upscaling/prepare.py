"""Which compiled network a picture goes through: one for every size, or one for tiles of its own."""

from __future__ import annotations

from dataclasses import replace

from sr_tvm.records.artifact import Artifact
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import Model


def prepare(model: Model, height: int, width: int, wanted: int | None, halo: int) -> tuple[Model, Artifact, bool]:
    """``model`` as it is used for a picture of ``height`` x ``width``, its artifact, and whether that was in the cache.

    ``wanted`` and ``halo`` are as in :meth:`Model.tile`. Where the model that is returned has no ``any_size``, the
    artifact is for tiles of one size.

    Raises:
        SrTvmError: the model cannot be compiled, or the cache folder cannot be written.
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
    """Whether an artifact for any size is fast: sums that do not stream have plain loops, which are not."""
    return not any(row["reduces"] for row in artifact.kernels if row["schedule"] == "default")
