"""External data of an ONNX file: read only from inside the model's own folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.tensors import check_tensor


def is_external(tensor: TensorProto) -> bool:
    """Tell whether a tensor's data lies in another file.

    Args:
        tensor: Of an ONNX file.

    Returns:
        False where the data is in the tensor itself.
    """
    return tensor.data_location == TensorProto.EXTERNAL


def read_into(tensor: TensorProto, model_path: Path) -> None:
    """Replace a tensor's reference to a file by that file's bytes.

    Args:
        tensor: Changed in place.
        model_path: Of the ONNX file; the data must lie in its folder or below.

    Raises:
        SrTvmError: The file is missing, too short, or lies outside the folder of the model (by an absolute path, by
            "..", or through a symbolic link); the message names the tensor.
    """
    where = f"{model_path}: external data of tensor {tensor.name!r}"
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    file = _inside(location, model_path, where)
    size = check_tensor(tensor, model_path)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
    except ValueError:
        raise SrTvmError(f"{where} has an offset or length that is no whole number") from None
    if offset < 0 or length != size:
        raise SrTvmError(f"{where}: offset {offset}, length {length}, but its dimensions need {size} bytes")
    try:
        with open(file, "rb") as stream:
            if offset + size > os.fstat(stream.fileno()).st_size:
                raise SrTvmError(f"{where}: {location} is too short for {size} bytes at {offset}; is it truncated?")
            stream.seek(offset)
            tensor.raw_data = stream.read(size)
    except OSError as error:
        raise SrTvmError(f"{where}: {location} cannot be read: {error.strerror or error}") from error
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _inside(location: str, model_path: Path, where: str) -> Path:
    if not location or "\0" in location:
        raise SrTvmError(f"{where} names no file")
    parts = set(PurePosixPath(location).parts) | set(PureWindowsPath(location).parts)
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts:
        raise SrTvmError(f"{where} is at {location!r}, outside the model's folder; it must lie beside the model")
    folder = model_path.parent.resolve()
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise SrTvmError(f"{where}: {location!r} is a link out of the model's folder; put the file itself there")
    if not file.is_file():
        raise SrTvmError(f"{where}: {location!r} is missing; it must lie beside the model")
    return file
