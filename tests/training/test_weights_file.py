import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import expected_shapes, fold, load_weights, save_weights
from sr_tvm.records.architecture import Architecture, Block

ARCH = Architecture(2, 5, (Block(7, 3), Block(2, 1)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = WDSR(ARCH)
    with torch.no_grad():  # weight norm starts as the identity; move its lengths so that folding has work to do
        for name, weight in made.named_parameters():
            if name.endswith("original0"):
                weight.mul_(torch.rand_like(weight) + 0.5)
    return made


def rewrite(path, architecture=None, change=None, metadata=True):
    """A weights file with its metadata or tensors tampered with."""
    state = load_file(path)
    (change or (lambda s: None))(state)
    text = architecture if isinstance(architecture, str) else json.dumps(ARCH.to_json() | (architecture or {}))
    save_file(state, path, {"format": "pt"} | ({"architecture": text} if metadata else {}))


def test_folding_keeps_the_output(model):
    x = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert (fold(model)(x) - model(x)).abs().max() < 1e-6
        assert torch.equal(fold(fold(model))(x), fold(model)(x))


def test_round_trip_tells_its_own_widths(model, tmp_path):
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.architecture == ARCH and not loaded.training
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), fold(model)(x))
    assert set(load_file(tmp_path / "w.safetensors")) == set(expected_shapes(ARCH))
    assert sum(p.numel() for p in loaded.parameters()) == ARCH.params


def test_a_weight_that_is_not_a_number_is_not_saved(model, tmp_path):
    with torch.no_grad():
        model.tail.bias[0] = float("nan")
    with pytest.raises(SrTvmError, match=r"tail\.bias"):
        save_weights(model, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def poke(key, value):
    def change(state):
        state[key].view(-1)[0] = value

    return change


TAMPERED = {
    "no metadata": (dict(metadata=False), "has no"),
    "not json": (dict(architecture="{"), "architecture"),
    "bomb": (dict(architecture="[" * 100000), "architecture"),
    "huge json": (dict(architecture=json.dumps({"schema": "x" * 2_000_000})), "architecture"),
    "a list": (dict(architecture="[1]"), "architecture"),
    "another version": (dict(architecture={"version": 2}), "version 1"),
    "scale 2.0": (dict(architecture={"scale": 2.0}), "scale"),
    "scale list": (dict(architecture={"scale": [2]}), "scale"),
    "width 0": (dict(architecture={"channels": 0}), "channels"),
    "width -1": (dict(architecture={"blocks": [{"expand": -1, "linear": 3}]}), "expand"),
    "width 1e9": (dict(architecture={"blocks": [{"expand": 10**9, "linear": 3}]}), "expand"),
    "width NaN": (dict(architecture={"channels": float("nan")}), "channels"),
    "width true": (dict(architecture={"channels": True}), "channels"),
    "width text": (dict(architecture={"channels": "24"}), "channels"),
    "huge but allowed": (dict(architecture={"channels": 4096}), "shape|F32"),
    "a thousand blocks": (dict(architecture={"blocks": [{"expand": 1, "linear": 1}] * 1000}), "blocks"),
    "unknown field": (dict(architecture={"extra": 1}), "extra"),
    "another family": (dict(architecture={"family": "rcan"}), "family"),
    "missing tensor": (dict(change=lambda s: s.pop("head.bias")), r"lacks .*head\.bias"),
    "foreign tensor": (dict(change=lambda s: s.update(foreign=torch.zeros(1))), "foreign"),
    "wrong shape": (dict(change=lambda s: s.update({"head.bias": torch.zeros(6)})), r"head\.bias"),
    "wrong type": (dict(change=lambda s: s.update({"head.bias": s["head.bias"].double()})), "F64"),
    "not a number": (dict(change=poke("head.bias", float("inf"))), "finite"),
}


@pytest.mark.parametrize("how, message", TAMPERED.values(), ids=TAMPERED.keys())
def test_tampered_files_are_refused(model, tmp_path, how, message):
    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    rewrite(path, **how)
    with pytest.raises(SrTvmError, match=message) as error:
        load_weights(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}q\x00.",
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 200000) + b"[" * 200000,
    ],
    ids=["empty", "pickle", "huge header", "no tensors", "nested header"],
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(SrTvmError, match="w.safetensors"):
        load_weights(path)


def test_cut_off_anywhere(model, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(SrTvmError):
            load_weights(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(SrTvmError, match="no such file"):
        load_weights(tmp_path / "w.safetensors")
    with pytest.raises(SrTvmError, match="not a file"):
        load_weights(tmp_path)


def test_unwritable_place(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SrTvmError, match="cannot write"):
        save_weights(model, tmp_path / "file" / "w.safetensors")
