"""Images: there and back, read and written by kernels, and made inside of a function."""

from __future__ import annotations

import numpy as np
import pytest
from opencl_modules import HANDLE, kernel

TURN = """__kernel void turn(__read_only image2d_array_t a, __write_only image2d_array_t b) {
  const sampler_t exact = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;
  int4 at = (int4)(get_global_id(0), get_global_id(1), get_global_id(2), 0);
  write_imagef(b, at, read_imagef(a, exact, at).wzyx * 2.0f);
}"""
# Scope, shape, and the image that it is: width, height, layers.
SHAPES = [
    ("global.texture", (5, 9, 4), (9, 5, 1)),
    ("global.texture", (2, 3, 5, 7, 4), (7, 5, 6)),
    ("global.texture-weight", (6, 2, 3, 3, 4), (18, 6, 1)),
    ("global.texture-nhwc", (2, 5, 7, 3, 4), (21, 5, 2)),
]


@pytest.fixture
def images(opencl):
    from sr_tvm.runtimes.opencl import backend

    if not backend.find().devices[0].images:
        pytest.skip("the OpenCL device has no images: make system-deps")
    return opencl


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("scope", "shape", "region"), SHAPES)
def test_round_trip(images, scope, shape, region, dtype):
    import tvm

    values = np.random.default_rng(0).random(shape).astype(dtype)
    a, b = (tvm.runtime.empty(shape, dtype, images, scope) for _ in range(2))
    a.copyfrom(values)
    assert np.array_equal(a.numpy(), values)
    kernel("turn", TURN, [HANDLE, HANDLE], ["blockIdx.x", "blockIdx.y", "blockIdx.z"])(a, b, *region)
    np.testing.assert_allclose(b.numpy(), values[..., ::-1] * np.dtype(dtype).type(2), rtol=1e-6)


def test_between_images_and_buffers(images):
    import tvm

    values = np.random.default_rng(0).random((5, 9, 4), dtype="float32")
    buffer = tvm.runtime.tensor(values, images)
    first, second = (tvm.runtime.empty(values.shape, "float32", images, "global.texture") for _ in range(2))
    back = tvm.runtime.empty(values.shape, "float32", images)
    first.copyfrom(buffer)
    second.copyfrom(first)
    back.copyfrom(second)
    assert np.array_equal(back.numpy(), values)


@pytest.mark.parametrize(
    ("scope", "shape", "dtype", "message"),
    [
        ("global.texture", (5, 9, 3), "float32", "shape 5x9x3 is no texture of scope global.texture; its last axis"),
        ("global.texture-nhwc", (9, 4), "float32", "shape 9x4 is no texture"),
        ("global.texture-odd", (5, 9, 4), "float32", "unknown memory scope 'global.texture-odd'; known are"),
        ("global.texture", (5, 9, 4), "int32", "textures hold float16 or float32, not int32"),
        (
            "global.texture",
            (1, 1 << 20, 4),
            "float32",
            "an image of 1048576x1 pixels and 1 layers is wanted; .* has at",
        ),
    ],
)
def test_what_is_no_texture(images, scope, shape, dtype, message):
    import tvm

    with pytest.raises((ValueError, RuntimeError), match=message):
        tvm.runtime.empty(shape, dtype, images, scope)


def adreno(function, name):
    """TVM's own code for Adreno: its pipeline, which 0.27 registers without the two last parts."""
    import tvm
    from tvm.s_tir.backend.adreno import pipeline
    from tvm.s_tir.pipeline import finalize_device_passes, finalize_host_passes
    from tvm.tirx import compilation_pipeline

    parts = (pipeline.default_tir_pipeline(), finalize_host_passes, finalize_device_passes)
    gpu = {"device": "adreno", "keys": ["adreno", "opencl", "gpu"], "max_num_threads": 256}
    target = tvm.target.Target({"kind": "opencl", **gpu, "host": {"kind": "llvm"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compilation_pipeline.PIPELINE_MAP, "adreno", lambda: parts)
        built = tvm.tirx.build(tvm.IRModule({name: function}), target=target, pipeline="adreno")
    assert "image2d_array_t" in built.imports[0].inspect_source()
    return built[name]


def test_a_function_of_tir_reads_a_texture(images):
    """Stores are written by no test: TVM 0.27 makes them one channel at a time, each over the whole pixel."""
    import tvm
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def out_of(p: T.handle, b: T.Buffer((6, 10, 4), "float32")):
        T.func_attr({"global_symbol": "out_of"})
        texture = T.match_buffer(p, (6, 10, 4), "float32", scope="global.texture")
        for i in T.thread_binding(6, thread="blockIdx.x"):
            for j in T.thread_binding(10, thread="threadIdx.x"):
                for k in T.vectorized(4):
                    with T.sblock("out_of"):
                        y, x, c = T.axis.remap("SSS", [i, j, k])
                        b[y, x, c] = texture[y, x, c] * T.float32(2)

    values = np.random.default_rng(0).random((6, 10, 4), dtype="float32")
    texture = tvm.runtime.empty(values.shape, "float32", images, "global.texture")
    result = tvm.runtime.empty(values.shape, "float32", images)
    texture.copyfrom(values)
    adreno(out_of, "out_of")(texture, result)
    np.testing.assert_allclose(result.numpy(), values * 2, rtol=1e-6)


def test_textures_inside_of_functions(images):
    """By the calls that TVM's host code makes for them: width, height and layers, and the bits of a pixel."""
    import ctypes

    import tvm

    new, free = (tvm.get_global_func(f"device_api.opencl.{name}_nd") for name in ("alloc", "free"))
    kind, shape = tvm.opencl().dlpack_device_type(), (ctypes.c_int64 * 3)(7, 5, 1)
    at = ctypes.c_void_p(ctypes.addressof(shape))
    images_made = [new(kind, 0, 4, 1, "global.texture", 3, at, bits) for bits in (128, 64)]
    assert all(images_made)
    for image in images_made:
        free(kind, 0, "global.texture", image)
    with pytest.raises(ValueError, match="textures hold float16 or float32"):
        new(kind, 0, 4, 1, "global.texture", 3, at, 32)
