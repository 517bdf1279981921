"""TVM's OpenCL C is mended: vectors, images, alignment, and the sizes of work-groups."""

from __future__ import annotations

import pytest

from sr_tvm.targets.opencl.source import mend

GROUPS = {"k": (64, 4, 1)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = float4(1.0f, b, c, d);", "a = (float4)(1.0f, b, c, d);"),
        ("a = half8(x) + uint2(1, 2);", "a = (half8)(x) + (uint2)(1, 2);"),
        ("a = convert_float4(b) + as_int4(c);", "a = convert_float4(b) + as_int4(c);"),
        ("a = ((float4)(b));", "a = ((float4)(b));"),
        ("v = vload4(0, w_ptr + 4*i);", "v = (*(__global const float4*)(w_ptr + 4*i));"),
        ("v = vload4(0, w_ptr + f(g(i), 2)) + vload4(0, w_ptr + 1);",
         "v = (*(__global const float4*)(w_ptr + f(g(i), 2))) + (*(__global const float4*)(w_ptr + 1));"),
        ("vstore4((a + b), 0, y_ptr + (i * 4));", "*(__global half4*)(y_ptr + (i * 4)) = (a + b);"),
        ("v = vload4(0, shared + 4);", "v = vload4(0, shared + 4);"),
        ("v = vload4(0, own_local_ptr + 4);", "v = vload4(0, own_local_ptr + 4);"),
        ("vstore4(a, 0, own_local_ptr + 4);", "vstore4(a, 0, own_local_ptr + 4);"),
    ],
)  # fmt: skip
def test_lines(before: str, after: str) -> None:
    head = "__kernel void k(__global float* restrict w_ptr, __global half* restrict y_ptr, __local float* shared) {"
    sized = head.replace("void", "__attribute__((reqd_work_group_size(64, 4, 1))) void")
    assert mend(f"{head}\n{before}\n}}", GROUPS) == f"{sized}\n{after}\n}}"


def test_each_kernel_has_types_of_its_own() -> None:
    kernel = "__kernel {}void k(__global {}* restrict x_ptr) {{\n  v = {};\n}}\n"
    told = "__attribute__((reqd_work_group_size(64, 4, 1))) "
    before, after = (
        kernel.format("", "float", "vload4(0, x_ptr + 4)") + kernel.format("", "half", "vload8(0, x_ptr + 8)"),
        kernel.format(told, "float", "(*(__global const float4*)(x_ptr + 4))")
        + kernel.format(told, "half", "(*(__global const half8*)(x_ptr + 8))"),
    )
    assert mend(before, GROUPS) == after


def test_what_others_schedule_may_begin_anywhere() -> None:
    code = "__kernel void other_kernel(__global float* restrict x_ptr) {\n  v = vload4(0, x_ptr + (4 * i + 1));\n}\n"
    assert mend(code, GROUPS) == code


def test_work_groups_are_told_of_the_kernels_that_are_known() -> None:
    code = "__kernel void a_kernel(__global float* x) {}\n__kernel void b_kernel(__global float* x) {}"
    assert mend(code, {"a_kernel": (64, 4, 1)}) == code.replace(
        "void a_kernel", "__attribute__((reqd_work_group_size(64, 4, 1))) void a_kernel"
    )


def test_images_are_read_with_a_sampler_in_every_version() -> None:
    """TVM's own text: without one, what lies outside of an image is not zero."""
    import tvm

    text = _image_program(tvm)
    assert "read_imagef(image, coord)" in text, "TVM has changed its text: mend() may have nothing to do any more"
    mended = mend(text, {})
    assert "#if __OPENCL_VERSION__ == CL_VERSION_2_0" not in mended and "read_imagef(image, coord)" not in mended
    assert "#define READ_IMAGEF(image, sampler, coord) read_imagef(image, sampler, coord)" in mended
    assert mend(mended, {}) == mended


def _image_program(tvm) -> str:
    from gpu_harness import TARGET
    from region_nets import wdsr

    from sr_tvm.targets.opencl.lowering import OpenClLowering

    kernels = OpenClLowering(storage="image").lower(wdsr(1, 4, 2), (1, 4, 8), "region")
    from harness import module_of

    code = tvm.compile(module_of(kernels), target=tvm.target.Target(TARGET))
    (device,) = [m for m in code.mod.imports if m.kind == "opencl"]
    return device.inspect_source()


def test_groups_are_known_by_the_name_that_a_function_has_outside() -> None:
    import tvm
    from region_nets import wdsr

    from sr_tvm.targets.opencl.lowering import OpenClLowering
    from sr_tvm.targets.opencl.source import work_groups

    (kernel, *_) = OpenClLowering().lower(wdsr(1, 4, 2), (1, 4, 8), "region")
    function = kernel.functions[kernel.entry]
    inside, outside = tvm.IRModule({"inside": function}), function.with_attr("global_symbol", "outside")
    assert set(work_groups(inside)) == {"inside_kernel"}
    assert set(work_groups(tvm.IRModule({"inside": outside}))) == {"outside_kernel"}
