"""Input shapes: what --input-shape may say, and what it does to a model's symbolic and fixed dimensions."""

import onnx
import pytest
from onnx import TensorProto, helper

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.input_shapes import parse_open_shape, resolve_open
from sr_tvm.frontend.onnx_file import parse_input_shape, resolve_inputs


def model(**inputs: list) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()]
    return helper.make_model(helper.make_graph([], "g", values, []))


def refused(proto: onnx.ModelProto, shapes: dict | None = None) -> str:
    with pytest.raises(SrTvmError) as error:
        resolve_inputs(proto, shapes)
    return str(error.value)


def test_parse() -> None:
    assert parse_input_shape("1x3x360x640") == {"": (1, 3, 360, 640)}
    assert parse_input_shape("x:1X3x4x5") == {"x": (1, 3, 4, 5)}
    assert parse_input_shape("a:0:1x2") == {"a:0": (1, 2)}


@pytest.mark.parametrize(
    "text",
    ["", "x:", "1x3x-4x5", "1x3x0x5", "1x3x4.5x5", "axb", "1xx3", "1,3,4,5", "1x3x99999999999x5", "1x1x65537x1",
     "1x3x65536x65536", "1x1x1x1x1x1x1x1", "1x3x٣x5"],
)  # fmt: skip
def test_bad_text(text: str) -> None:
    with pytest.raises(SrTvmError, match="input shape"):
        parse_input_shape(text)


def test_fixed_shapes_need_nothing() -> None:
    assert resolve_inputs(model(x=[1, 3, 4, 5])) == {"x": (1, 3, 4, 5)}


def test_symbols_are_filled() -> None:
    proto = model(x=[1, 3, "height", "width"])
    assert resolve_inputs(proto, parse_input_shape("1x3x6x7")) == {"x": (1, 3, 6, 7)}
    assert resolve_inputs(proto, {"x": (1, 3, 6, 7)}) == {"x": (1, 3, 6, 7)}


@pytest.mark.parametrize("dims", [[1, 3, "h", "w"], [1, 3, None, None], None, [1, 3, 0, 4]])
def test_what_stays_unknown_is_asked_for(dims: list) -> None:
    assert "--input-shape" in refused(model(x=dims)) or "dimension of 0" in refused(model(x=dims))


def test_message_shows_the_option_to_type() -> None:
    assert "--input-shape 1x3x360x640" in refused(model(x=[1, 3, "h", "w"]))
    assert "--input-shape 1x1x360x640" in refused(model(x=[1, 1, "h", "w"]))


@pytest.mark.parametrize(
    "shape", [(1, 3, 4), (1, 3, 4, 5, 6), (2, 3, 4, 5), (1, 1, 4, 5), (1, 3, 0, 5), (1, 3, -1, 5), (1, 3, 10**6, 1)]
)
def test_shapes_that_do_not_fit(shape: tuple) -> None:
    assert "'x'" in refused(model(x=[1, 3, "h", "w"]), {"x": shape})


def test_unknown_name_and_ambiguous_shape() -> None:
    assert "'z'" in refused(model(x=[1, 3, 4, 5]), {"z": (1, 3, 4, 5)})
    assert "name one" in refused(model(a=[1, "n"], b=[1, "n"]), {"": (1, 2)})


def test_one_symbol_has_one_value() -> None:
    proto = model(a=[1, "n"], b=[1, "n"])
    assert resolve_inputs(proto, {"a": (1, 2), "b": (1, 2)}) == {"a": (1, 2), "b": (1, 2)}
    assert "'n'" in refused(proto, {"a": (1, 2), "b": (1, 3)})


def test_no_input() -> None:
    assert "no input" in refused(model())


def test_open_shapes() -> None:
    assert parse_open_shape("1x3xHxW") == {"": (1, 3, "H", "W")}
    assert parse_open_shape("x:1X3Xheight_1Xwidth") == {"x": (1, 3, "height_1", "width")}
    assert parse_open_shape("1x3x4x5") == {"": (1, 3, 4, 5)}


@pytest.mark.parametrize("text", ["1x3xHx5", "NxCxHxW", "1x3xHxW-1", "HxW", "1x3xHxWx2", "0x3xHxW", "1x3xHxéé"])
def test_bad_open_shapes(text: str) -> None:
    with pytest.raises(SrTvmError, match="input shape"):
        parse_open_shape(text)


def test_what_nobody_fixes_stays_open() -> None:
    proto = model(x=[1, 3, "height", "width"])
    assert resolve_open(proto) == {"x": (1, 3, "height", "width")}
    assert resolve_open(proto, {"x": (1, 3, 6, 7)}) == {"x": (1, 3, 6, 7)}
    assert resolve_open(proto, {"": (1, 3, "H", "W")}) == {"x": (1, 3, "H", "W")}
    assert resolve_open(model(x=[None, 3, None, "a+b"])) == {"x": ("batch", 3, "height", "width")}
    assert resolve_open(model(a=[1, "n"], b=[1, "n"]), {"a": (1, 2)}) == {"a": (1, 2), "b": (1, 2)}
    shapes = resolve_open(model(a=[1, None], b=[1, None]))
    assert shapes["a"] != shapes["b"]
    for shape, overrides in ((None, None), ([1, 3, 4, "w"], {"x": (1, 3, "H", "W")})):
        with pytest.raises(SrTvmError, match="'x'"):
            resolve_open(model(x=shape), overrides)
