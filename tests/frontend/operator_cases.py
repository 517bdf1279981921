"""The operators we import, in every form that changes the numbers."""

from __future__ import annotations

import numpy as np
from onnx_cases import Case, case

rng = np.random.default_rng(7)


def weight(*shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / 3).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


CONVOLUTIONS = [
    case("conv", 9, "Conv", weight(8, 4, 3, 3), weight(8), pads=[1, 1, 1, 1]),
    case("conv no bias", 11, "Conv", weight(8, 4, 3, 3)),
    case("conv groups", 11, "Conv", weight(8, 2, 3, 3), weight(8), group=2, pads=[1, 1, 1, 1]),
    case("conv depthwise", 11, "Conv", weight(4, 1, 3, 3), weight(4), group=4, pads=[1, 1, 1, 1]),
    case("conv dilation", 11, "Conv", weight(3, 4, 3, 2), dilations=[2, 3], pads=[2, 2, 2, 2]),
    case("conv stride, asymmetric pads", 11, "Conv", weight(3, 4, 3, 3), strides=[2, 1], pads=[0, 1, 2, 3]),
    *(
        case(f"conv {mode} stride {s} kernel {k}", 11, "Conv", weight(3, 4, k, k), auto_pad=mode, strides=[s, s])
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for s in (1, 2, 3)
        for k in (2, 3)
    ),
    case("conv 1d", 11, "Conv", weight(3, 4, 3), weight(3), shape=(1, 4, 9), pads=[1, 1]),
    case("conv batch 2", 11, "Conv", weight(3, 4, 3, 3), weight(3), shape=(2, 4, 6, 5)),
    case("deconv", 9, "ConvTranspose", weight(4, 3, 3, 3), weight(3)),
    case("deconv stride pads", 11, "ConvTranspose", weight(4, 3, 4, 4), weight(3), strides=[2, 2], pads=[1, 1, 1, 1]),
    case(
        "deconv fsrcnn",
        11,
        "ConvTranspose",
        weight(4, 1, 9, 9),
        weight(1),
        strides=[2, 2],
        pads=[4, 4, 4, 4],
        output_padding=[1, 1],
    ),
    case(
        "deconv x3 output padding",
        11,
        "ConvTranspose",
        weight(4, 2, 5, 5),
        strides=[3, 3],
        pads=[2, 2, 2, 2],
        output_padding=[2, 1],
    ),
    case("deconv groups", 11, "ConvTranspose", weight(4, 3, 3, 3), weight(6), group=2, strides=[2, 2]),
    case("deconv depthwise", 11, "ConvTranspose", weight(4, 1, 4, 4), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    case("deconv asymmetric pads", 11, "ConvTranspose", weight(4, 3, 3, 3), strides=[2, 2], pads=[0, 1, 1, 0]),
    case("deconv dilation", 11, "ConvTranspose", weight(4, 3, 3, 3), weight(3), dilations=[2, 2]),
    case("deconv dilation stride", 11, "ConvTranspose", weight(4, 3, 3, 3), dilations=[2, 1], strides=[2, 3]),
    case(
        "deconv groups dilation",
        11,
        "ConvTranspose",
        weight(4, 2, 3, 3),
        group=2,
        dilations=[2, 2],
        strides=[2, 2],
        output_padding=[1, 0],
    ),
    *(
        case(
            f"deconv {mode} kernel {k} stride {s}",
            11,
            "ConvTranspose",
            weight(4, 3, k, k),
            auto_pad=mode,
            strides=[s, s],
        )
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for s, k in ((2, 3), (2, 4), (1, 3))
    ),
    case("deconv output shape", 11, "ConvTranspose", weight(4, 3, 3, 3), strides=[2, 2], output_shape=[12, 10]),
    case(
        "deconv output shape upper",
        11,
        "ConvTranspose",
        weight(4, 3, 3, 3),
        strides=[2, 2],
        output_shape=[12, 10],
        auto_pad="SAME_UPPER",
    ),
    case("deconv 1d", 11, "ConvTranspose", weight(4, 3, 3), weight(3), shape=(1, 4, 9), strides=[2]),
    case("batch norm", 9, "BatchNormalization", weight(4), weight(4), weight(4), np.abs(weight(4)) + 0.1),
    case(
        "batch norm 15",
        15,
        "BatchNormalization",
        weight(4),
        weight(4),
        weight(4),
        np.abs(weight(4)) + 0.1,
        epsilon=0.01,
    ),
]

ACTIVATIONS = [
    *(
        case(op.lower(), 13, op)
        for op in (
            "Relu",
            "Sigmoid",
            "Tanh",
            "Abs",
            "Neg",
            "Exp",
            "Softplus",
            "HardSwish",
            "Erf",
            "Sign",
            "Floor",
            "Ceil",
            "Elu",
            "LeakyRelu",
            "HardSigmoid",
            "Reciprocal",
        )
        if op != "HardSwish"
    ),
    case("hard swish", 14, "HardSwish"),
    case("mish", 18, "Mish"),
    case("gelu", 20, "Gelu"),
    case("gelu tanh", 20, "Gelu", approximate="tanh"),
    case("leaky alpha", 9, "LeakyRelu", alpha=0.2),
    case("elu alpha", 9, "Elu", alpha=0.7),
    case("hard sigmoid alpha", 9, "HardSigmoid", alpha=0.4, beta=0.6),
    case("prelu channel", 9, "PRelu", weight(4, 1, 1)),
    case("prelu channel 4d", 13, "PRelu", weight(1, 4, 1, 1)),
    case("prelu shared", 9, "PRelu", weight(1)),
    case("prelu shared 3d", 13, "PRelu", weight(1, 1, 1)),
    case("prelu shared 4d", 13, "PRelu", weight(1, 1, 1, 1)),
    case("prelu column", 13, "PRelu", weight(5)),
    case("prelu full", 13, "PRelu", weight(4, 6, 5)),
    case("prelu of vectors", 13, "PRelu", weight(4), shape=(3, 4)),
    case("clip attributes", 9, "Clip", min=-0.5, max=0.5),
    case("clip attribute min", 9, "Clip", min=0.0),
    case("clip attribute max", 9, "Clip", max=0.25),
    case("clip none", 9, "Clip"),
    case("clip 11", 11, "Clip", scalar(-0.3), scalar(0.3)),
    case("clip 13 min", 13, "Clip", scalar(0.1)),
    case("clip 13 max", 13, "Clip", None, scalar(0.1)),
    case("clip 13 none", 13, "Clip"),
    case("clip 13 min over max", 13, "Clip", scalar(0.5), scalar(-0.2)),
    case("clip 13 infinite", 13, "Clip", scalar(-np.inf), scalar(0.5)),
    case("softmax 9", 9, "Softmax"),
    case("softmax 11 axis 3", 11, "Softmax", axis=3),
    case("softmax 11 axis -2", 11, "Softmax", axis=-2),
    case("softmax 13", 13, "Softmax"),
    case("softmax 13 axis 1", 13, "Softmax", axis=1),
]

ARITHMETIC = [
    *(case(op.lower(), 13, op, weight(4, 1, 1)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(case(f"{op.lower()} scalar", 9, op, scalar(0.7)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    case("add wider", 13, "Add", weight(2, 4, 6, 5)),
    case("pow 2", 13, "Pow", scalar(2)),
    case("pow 3", 9, "Pow", scalar(3)),
    case("pow integer exponent", 13, "Pow", np.array(2, np.int64)),
    case("sum of three", 13, "Sum", weight(4, 1, 1), weight(1, 1, 6, 5)),
    case("max of three", 13, "Max", weight(4, 1, 1), weight(1, 1, 6, 5)),
    case("min of one", 13, "Min"),
    case("concat", 13, "Concat", weight(1, 2, 6, 5), axis=1),
    case("concat negative axis", 13, "Concat", weight(1, 4, 6, 2), axis=-1),
    case("matmul", 13, "MatMul", weight(5, 7)),
    case("matmul 2d", 9, "MatMul", weight(6, 7), shape=(3, 6)),
    case("gemm", 9, "Gemm", weight(6, 7), weight(7), shape=(3, 6)),
    case("gemm transB", 11, "Gemm", weight(7, 6), weight(7), shape=(3, 6), transB=1),
    case("gemm alpha beta", 11, "Gemm", weight(7, 6), weight(3, 1), shape=(3, 6), transB=1, alpha=0.5, beta=2.0),
    case("gemm transA no C", 13, "Gemm", weight(3, 7), shape=(3, 6), transA=1),
    Case(
        "sqrt of abs, log",
        13,
        [
            ("Abs", ["x"], ["a"], {}),
            ("Sqrt", ["a"], ["s"], {}),
            ("Add", ["s", "one"], ["t"], {}),
            ("Log", ["t"], ["y"], {}),
        ],
        {"one": scalar(1)},
    ),
    Case(
        "dropout, identity, cast",
        13,
        [
            ("Dropout", ["x"], ["a"], {}),
            ("Identity", ["a"], ["b"], {}),
            ("Cast", ["b"], ["c"], {"to": 1}),
            ("Relu", ["c"], ["y"], {}),
        ],
        {},
    ),
    Case("dropout 9", 9, [("Dropout", ["x"], ["a"], {"ratio": 0.3}), ("Relu", ["a"], ["y"], {})], {}),
]

SHAPES = [
    *(
        case(f"depth to space {mode}", 11, "DepthToSpace", blocksize=2, mode=mode, shape=(1, 12, 3, 2))
        for mode in ("DCR", "CRD")
    ),
    case("depth to space 9", 9, "DepthToSpace", blocksize=2, shape=(1, 12, 3, 2)),
    case("depth to space 3", 13, "DepthToSpace", blocksize=3, mode="CRD", shape=(2, 9, 3, 2)),
    case("space to depth", 13, "SpaceToDepth", blocksize=2, shape=(1, 3, 4, 6)),
    case("flatten", 9, "Flatten"),
    case("flatten 2", 13, "Flatten", axis=2),
    case("flatten 0", 13, "Flatten", axis=0),
    case("flatten -1", 13, "Flatten", axis=-1),
    case("reshape", 9, "Reshape", ints(0, 2, -1)),
    case("reshape 14", 14, "Reshape", ints(4, 30)),
    case("transpose", 9, "Transpose", perm=[0, 2, 3, 1]),
    case("transpose reversed", 13, "Transpose"),
    case("squeeze 9", 9, "Squeeze", axes=[0]),
    case("squeeze all", 11, "Squeeze"),
    case("squeeze 13", 13, "Squeeze", ints(0)),
    case("unsqueeze 9", 9, "Unsqueeze", axes=[0, 3]),
    case("unsqueeze 13", 13, "Unsqueeze", ints(-1)),
    case("slice 9", 9, "Slice", starts=[1, 0], ends=[3, -1], axes=[1, 3]),
    case("slice 9 no axes", 9, "Slice", starts=[0, 1], ends=[1, 100]),
    case("slice 13", 13, "Slice", ints(1), ints(2**62), ints(2)),
    case("slice steps", 13, "Slice", ints(0, 1), ints(6, 5), ints(-2, -1), ints(2, 3)),
    case("slice backwards", 13, "Slice", ints(-1), ints(-(2**62)), ints(3), ints(-1)),
    case("slice backwards part", 13, "Slice", ints(4, 100), ints(0, -5), ints(3, 2), ints(-2, -1)),
    *(
        case(
            f"pad 9 {mode}",
            9,
            "Pad",
            mode=mode,
            pads=[0, 0, 1, 2, 0, 0, 2, 1],
            **({"value": 0.5} if mode == "constant" else {}),
        )
        for mode in ("constant", "reflect", "edge")
    ),
    case("pad 11", 11, "Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), scalar(0.25)),
    case("pad 13 no value", 13, "Pad", ints(0, 0, 1, 2, 0, 0, 2, 1)),
    case("pad 13 reflect", 13, "Pad", ints(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect"),
    case("pad 13 channels", 13, "Pad", ints(0, 1, 0, 0, 0, 2, 0, 0), scalar(-1)),
    case("pad 13 negative crops", 13, "Pad", ints(0, 0, -1, 2, 0, 0, 2, -1)),
    case("pad 18 axes", 18, "Pad", ints(1, 2, 3, 1), None, ints(2, -1), mode="edge"),
    case("pad 19 wrap", 19, "Pad", ints(1, 2, 3, 1), None, ints(2, 3), mode="wrap"),
    Case(
        "split 9",
        9,
        [("Split", ["x"], ["a", "b"], {"axis": 1, "split": [1, 3]}), ("Concat", ["b", "a"], ["y"], {"axis": 1})],
        {},
    ),
    Case(
        "split 13",
        13,
        [("Split", ["x", "s"], ["a", "b"], {"axis": 1}), ("Concat", ["b", "a"], ["y"], {"axis": 1})],
        {"s": ints(1, 3)},
    ),
    Case(
        "split 18 uneven",
        18,
        [("Split", ["x"], ["a", "b"], {"axis": 3, "num_outputs": 2}), ("Concat", ["b", "a"], ["y"], {"axis": 3})],
        {},
    ),
    case("gather", 13, "Gather", ints(2, 0, 0), axis=1),
    case("gather one, negative", 11, "Gather", np.array(-1, np.int64), axis=-1),
    case("expand", 13, "Expand", ints(2, 4, 6, 5)),
    case("expand smaller rank", 13, "Expand", ints(6, 5), shape=(1, 4, 1, 1)),
    case("tile", 13, "Tile", ints(1, 1, 2, 3)),
    case("reduce mean 9", 9, "ReduceMean", axes=[2, 3]),
    case("reduce mean 18", 18, "ReduceMean", ints(2, 3), keepdims=0),
    case("reduce mean all", 13, "ReduceMean", keepdims=0),
    case("reduce sum 13", 13, "ReduceSum", ints(-1)),
    case("reduce max", 13, "ReduceMax", axes=[1]),
    case("reduce min", 18, "ReduceMin", ints(1)),
    case("reduce noop", 18, "ReduceMean", noop_with_empty_axes=1),
]

POOLS = [
    case("max pool", 9, "MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    case("max pool pads", 11, "MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("max pool asymmetric", 11, "MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[0, 1, 1, 0]),
    case("max pool ceil", 11, "MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("max pool dilated", 11, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    *(
        case(f"{kind.lower()} {mode} {s}", 11, kind, kernel_shape=[3, 3], strides=[s, s], auto_pad=mode)
        for kind in ("MaxPool", "AveragePool")
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for s in (1, 2)
    ),
    case("average pool", 9, "AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    case("average pool pads", 11, "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    case("average pool pads counted", 11, "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("average pool asymmetric", 11, "AveragePool", kernel_shape=[3, 3], pads=[0, 1, 2, 0], strides=[2, 1]),
    case("average pool ceil", 11, "AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case(
        "average pool ceil counted",
        19,
        "AveragePool",
        kernel_shape=[3, 3],
        strides=[2, 2],
        ceil_mode=1,
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    ),
    case("average pool dilated", 19, "AveragePool", kernel_shape=[2, 2], dilations=[2, 2]),
    case("global average pool", 9, "GlobalAveragePool"),
    case("global max pool", 9, "GlobalMaxPool"),
]

RESIZES = [
    case("upsample 9 nearest", 9, "Upsample", floats(1, 1, 2, 3), mode="nearest"),
    case("upsample 9 linear", 9, "Upsample", floats(1, 1, 2, 2), mode="linear"),
    case("upsample 9 fractional", 9, "Upsample", floats(1, 1, 1.5, 1.3), mode="nearest"),
    case("resize 10 nearest", 10, "Resize", floats(1, 1, 2, 2), mode="nearest"),
    case("resize 10 linear", 10, "Resize", floats(1, 1, 2, 1.5), mode="linear"),
    case("resize 10 down", 10, "Resize", floats(1, 1, 0.5, 0.6), mode="nearest"),
    *(
        case(
            f"{mode} {coord} {'scales' if by else 'sizes'} {'fractional' if odd else 'whole'} {extra}",
            13,
            "Resize",
            floats(),
            *(
                ((floats(1, 1, 1.5, 1.7) if odd else floats(1, 1, 2, 3)),)
                if by
                else (None, ints(1, 4, 9, 8) if odd else ints(1, 4, 12, 15))
            ),
            mode=mode,
            coordinate_transformation_mode=coord,
            **extra,
        )
        for mode, extras in (
            ("nearest", [{"nearest_mode": m} for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")]),
            ("linear", [{}]),
            ("cubic", [{}, {"cubic_coeff_a": -0.5, "exclude_outside": 1}]),
        )
        for extra in extras
        for coord in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for by in (True, False)
        for odd in (False, True)
    ),
    case("resize 13 down linear", 13, "Resize", None, floats(1, 1, 0.5, 0.5), mode="linear"),
    case("resize 13 down cubic", 13, "Resize", None, floats(1, 1, 0.5, 0.7), mode="cubic"),
    case(
        "resize 13 to one pixel",
        13,
        "Resize",
        None,
        None,
        ints(1, 4, 1, 1),
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    case("resize 18 axes", 18, "Resize", None, floats(2, 3), axes=[2, 3], mode="linear"),
    case("resize 18 axes sizes", 18, "Resize", None, None, ints(15, 12), axes=[3, 2], mode="cubic"),
    case(
        "resize 18 not larger",
        18,
        "Resize",
        None,
        None,
        ints(14, 11),
        axes=[2, 3],
        mode="linear",
        keep_aspect_ratio_policy="not_larger",
    ),
    case(
        "resize 19 half pixel symmetric",
        19,
        "Resize",
        None,
        floats(1, 1, 1.5, 1.7),
        mode="linear",
        coordinate_transformation_mode="half_pixel_symmetric",
    ),
    case("resize channels", 13, "Resize", None, floats(1, 2, 1, 1), mode="nearest"),
    *(
        case(f"resize 18 antialias {m} {e}", 18, "Resize", None, floats(1, 1, 0.5, 1.5), mode=m, antialias=1)
        for m in ("linear", "cubic")
        for e in (0,)
    ),
    case("resize 1d", 13, "Resize", None, floats(1, 1, 2), mode="linear", shape=(1, 4, 9)),
    case("resize nothing", 13, "Resize", None, floats(1, 1, 1, 1), mode="cubic"),
]

ALL = [*CONVOLUTIONS, *ACTIVATIONS, *ARITHMETIC, *SHAPES, *POOLS, *RESIZES]
