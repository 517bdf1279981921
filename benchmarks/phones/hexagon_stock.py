"""TVM's own int8 convolution for Hexagon: its operator, its LLVM, loops ordered such that pixels become vectors."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.runners.hexagon_sim import find
from sr_tvm.targets import link

LANES = 32  # pixels of a turn of the innermost loop
HOW = (
    "TVM's topi.nn.conv2d_nchw, uint8 x int8 to int32 with no requantisation after, a block of pixels innermost and "
    "vectorised, the best of 1, 2, 4 and 8 outputs unrolled outside of it; through the same LLVM with HVX on. "
    "Not tuned: a search by MetaSchedule, 4 to 30 s a candidate, once brought such code to 12 MAC a packet"
)
UNROLLED = (1, 2, 4, 8)


def packets(inputs: int, outputs: int, kernel: int, height: int, width: int, folder: Path) -> int:
    """Build a convolution in the ways of HOW, run each in the simulator, and give the fewest packets.

    Raises:
        SrTvmError: none could be built and run.
    """
    found, problem = [], ""
    for unrolled in UNROLLED:
        if outputs % unrolled == 0:
            try:
                found.append(_packets(inputs, outputs, kernel, height, width, unrolled, folder))
            except SrTvmError as error:
                problem = str(error)
    if not found:
        raise SrTvmError(problem)
    return min(found)


def _packets(
    inputs: int, outputs: int, kernel: int, height: int, width: int, unrolled: int, folder: Path
) -> int:  # fmt: skip
    import tvm
    from tvm import te, topi
    from tvm_ffi import libinfo

    from sr_tvm.targets.hexagon.integer import RUNNER_MCPU, TRIPLE
    from sr_tvm.targets.hexagon.machine_code import tvm_target

    x = te.placeholder((1, inputs, height, width), "uint8", "x")
    w = te.placeholder((outputs, inputs, kernel, kernel), "int8", "w")
    y = topi.nn.conv2d_nchw(x, w, 1, kernel // 2, 1, out_dtype="int32")
    function = te.create_prim_func([x, w, y]).with_attr("global_symbol", "conv")
    schedule = tvm.s_tir.Schedule(tvm.IRModule({"conv": function}))
    block = schedule.get_sblock("conv2d_nchw", "conv")
    _, o, row, column, c, dy, dx = schedule.get_loops(block)
    outer, inner = schedule.split(column, [None, LANES])
    several, each = schedule.split(o, [None, unrolled])
    schedule.reorder(several, row, outer, c, dy, dx, each, inner)
    schedule.unroll(each)
    schedule.vectorize(inner)
    schedule.decompose_reduction(block, c)
    with tvm.transform.PassContext(opt_level=3):
        built = tvm.tirx.build(schedule.mod, target=tvm_target("hexagonv68"), pipeline="s_tir")
    name = f"{inputs}_{outputs}_{kernel}_{unrolled}"
    built.write_to_file(str(folder / f"{name}.o"))
    headers = [f"-I{libinfo.find_include_path()}", f"-I{libinfo.find_dlpack_include_path()}"]
    source, program = Path(__file__).with_suffix(".c"), folder / f"{name}.elf"
    link.program(program, [source, folder / f"{name}.o"], TRIPLE, f"-mcpu={RUNNER_MCPU}", *headers)
    shapes = (1, inputs, height, width, outputs, inputs, kernel, kernel, 1, outputs, height, width)
    sizes = (inputs * height * width, outputs * inputs * kernel**2, 4 * outputs * height * width)
    simulator = find()
    command = [simulator.path, "-cpu", simulator.cpu, str(program), *map(str, (*sizes, *shapes))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    match = re.search(r"packets (\d+)", done.stdout)
    if match is None:
        raise SrTvmError(f"stock TVM's {name}: exits {done.returncode}: {done.stderr.strip()[:200]}")
    return int(match[1])
