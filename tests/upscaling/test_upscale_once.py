"""A model is read, normalised and analysed once, whatever is done with it."""

import functools
import sys
from collections import Counter

import onnx
import pytest
from click.testing import CliRunner
from upscale_nets import noise, save

from sr_tvm.build.compiler import compile_model
from sr_tvm.cli.explain import command as explain
from sr_tvm.frontend import normalize, onnx_file, receptive_field, to_relax
from sr_tvm.frontend.model import read_model
from sr_tvm.upscaling import cache
from sr_tvm.upscaling.model import open_model
from sr_tvm.upscaling.upscale import upscale_file

ONCE = {"parse": 1, "check": 1, "normalize": 1, "receptive_field": 1}


@pytest.fixture
def calls(monkeypatch):
    """How often the functions are called that read and analyse, by whichever module."""
    counts = Counter()
    assert to_relax  # a module that is first imported while functions are counted would keep what counts
    counted = [onnx_file.parse, onnx_file.check, normalize.normalize, receptive_field.receptive_field]
    counted += [onnx.load_model, onnx.load_model_from_string, onnx.shape_inference.infer_shapes]
    for function in counted:

        def counting(*args, _function=function, **named):
            counts[_function.__name__] += 1
            return _function(*args, **named)

        functools.update_wrapper(counting, function)
        for module in list(sys.modules.values()):
            if (getattr(module, "__name__", "") or "").startswith(("sr_tvm", "onnx")):
                for name in [n for n, value in vars(module).items() if value is function]:
                    monkeypatch.setattr(module, name, counting)
    return counts


def test_a_first_upscale_reads_and_normalises_once(plain_model, tmp_path, monkeypatch, calls):
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    src = save(tmp_path / "a.png", noise(9, 12, 3))
    assert not upscale_file(src, tmp_path / "b.png", plain_model).cached
    assert calls == ONCE
    calls.clear()
    assert upscale_file(src, tmp_path / "b.png", plain_model).cached
    assert calls == ONCE  # it has to know what the network is


def test_one_artifact_and_an_explanation_take_one_normalisation_each(plain_model, tmp_path, calls):
    compile_model(plain_model, "cpu", tmp_path / "out")
    assert calls == ONCE
    calls.clear()
    done = CliRunner().invoke(explain, [str(plain_model), "--json"])
    assert done.exit_code == 0 and calls == {"parse": 1, "check": 1, "normalize": 1}


def test_what_was_read_is_used_again(plain_model, tmp_path, calls):
    model = read_model(plain_model)
    once, again = (compile_model(model, "cpu", tmp_path / name) for name in ("once", "again"))
    assert calls == ONCE
    assert model.sha256 == once.model_sha256 == again.model_sha256 and once.kernels == again.kernels
    for name in ("weights.bin", "reference.npz"):
        first, second = ((made.folder / "program" / name).read_bytes() for made in (once, again))
        assert first == second


def test_a_file_that_is_gone_is_not_read_again(plain_model, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(plain_model.read_bytes())
    opened = open_model(path)
    path.unlink()
    artifact, cached = cache.compiled(opened, None, tmp_path / "cache")
    assert not cached and artifact.model_sha256 == opened.sha256 and artifact.halo == opened.halo
