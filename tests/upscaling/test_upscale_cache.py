"""Compiled networks are kept, and used again only for what they were compiled from."""

import os
import shutil

import numpy as np
from upscale_nets import noise, save

from sr_tvm.imaging.reading import read_picture
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import open_model
from sr_tvm.upscaling.network import Network
from sr_tvm.upscaling.upscale import upscale_file


def kept(folder):
    """What the cache holds, beside its lock."""
    return sorted(path for path in folder.iterdir() if path.name != cache.LOCK)


def test_new_weights_in_another_file_are_used(tmp_path, plain_model):
    """The .onnx stays byte for byte as it was; only the external data changes."""
    import onnx

    path, src = tmp_path / "net.onnx", save(tmp_path / "a.png", noise(8, 8, 3))
    proto = onnx.load(plain_model)
    onnx.save(proto, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = path.read_bytes()
    opened = open_model(path)
    assert opened.sha256 != open_model(plain_model).sha256
    upscale_file(src, tmp_path / "old.png", path)
    weights = np.fromfile(tmp_path / "w.bin", np.float32)
    (0.5 * weights).tofile(tmp_path / "w.bin")
    assert path.read_bytes() == before and open_model(path).sha256 != opened.sha256
    assert not upscale_file(src, tmp_path / "new.png", path).cached
    assert (read_picture(tmp_path / "new.png").pixels != read_picture(tmp_path / "old.png").pixels).any()
    artifact, _ = cache.compiled(open_model(path), (8, 8))
    assert artifact.model_sha256 == open_model(path).sha256


def test_the_cache_is_used_and_mended(plain_model, tmp_path):
    opened = open_model(plain_model)
    first, cached = cache.compiled(opened, (8, 8), tmp_path)
    assert not cached
    assert cache.compiled(opened, (8, 8), tmp_path) == (first, True)
    assert cache.compiled(opened, (8, 9), tmp_path)[0].folder != first.folder
    first.library_path.write_bytes(b"damaged")
    again, cached = cache.compiled(opened, (8, 8), tmp_path)
    assert not cached and again.folder == first.folder
    Network(again)
    (again.folder / "artifact.json").write_text("{")
    assert not cache.compiled(opened, (8, 8), tmp_path)[1]
    assert len(kept(tmp_path)) == 2


def test_using_an_entry_saves_it_from_the_next_pruning(plain_model, tmp_path, monkeypatch):
    opened = open_model(plain_model)
    old, _ = cache.compiled(opened, (8, 8), tmp_path)
    idle, _ = cache.compiled(opened, (8, 9), tmp_path)
    for artifact in (old, idle):
        os.utime(artifact.folder, (1, 1))
    assert cache.compiled(opened, (8, 8), tmp_path)[1]
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    new, _ = cache.compiled(opened, (8, 10), tmp_path)
    assert kept(tmp_path) == sorted([old.folder, new.folder])


def test_two_processes_may_fill_the_cache_at_once(plain_model, tmp_path, monkeypatch):
    """While this one compiles, another finishes the same entry."""
    from sr_tvm.build import compiler

    real = compiler.compile_model
    entries = []

    def slower(path, target, out, shapes):
        result = real(path, target, out, shapes)
        entry = out.with_name(out.name.rsplit(".", 1)[0])
        shutil.copytree(out, entry)
        entries.append(entry)
        return result

    monkeypatch.setattr(compiler, "compile_model", slower)
    artifact, _ = cache.compiled(open_model(plain_model), (9, 9), tmp_path)
    assert [artifact.folder] == entries == kept(tmp_path)
