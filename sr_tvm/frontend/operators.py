"""Which ONNX operators can be compiled, and which only where they disappear once the shapes are fixed."""

from __future__ import annotations

MIN_OPSET = 9
# Every node is rewritten to the form of this opset before TVM sees it, so that one set of converters is enough.
CANONICAL_OPSET = 21
STANDARD_DOMAINS = ("", "ai.onnx")

# Work on pictures: these reach the compiler, or are rewritten to others that do.
COMPUTE = frozenset(
    {
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Ceil",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mish",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "Pow",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Sign",
        "Slice",
        "Softmax",
        "Softplus",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    }
)
# Removed while importing.
REMOVED = frozenset(
    {
        "Cast",
        "CastLike",
        "Constant",
        "Dropout",
        "Identity",
        "Shape",
        "Size",
    }
)
# Shape arithmetic: fine where it becomes constant, an error where it touches pixels.
SHAPE_ONLY = frozenset(
    {
        "And",
        "ConstantOfShape",
        "Equal",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Mod",
        "NonZero",
        "Not",
        "Or",
        "Range",
        "ReduceProd",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Trilu",
        "Where",
        "Xor",
    }
)
KNOWN = COMPUTE | REMOVED | SHAPE_ONLY
QUANTISED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)
