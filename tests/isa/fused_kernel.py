"""A fused pair of 1x1 convolutions with a ReLU between as scheduled TIR: 24 -> 144 -> 20 channels in vectors of four.

A work-item has PIXELS pixels, a work-group its weights in local memory: for each four expanded channels 24 vectors for
the first convolution and 20 for the second.
"""

import tvm
from tvm.script import tirx as T

PIXELS, GROUP, SIZE = 2, 256, 64 * 128
VECTORS, STEPS = 1584, 7
MACS = 24 * 144 + 144 * 20  # of a pixel


@T.prim_func(s_tir=True)
def fused(
    x: T.Buffer((6 * SIZE,), "float32x4"), w: T.Buffer((VECTORS,), "float32x4"), y: T.Buffer((5 * SIZE,), "float32x4")
):
    T.func_attr({"global_symbol": "fused", "tirx.noalias": True})
    for bx in T.thread_binding(SIZE // PIXELS // GROUP, thread="blockIdx.x"):
        for tx in T.thread_binding(GROUP, thread="threadIdx.x"):
            weights = T.alloc_buffer((VECTORS,), "float32x4", scope="shared")
            inputs = T.alloc_buffer((6 * PIXELS,), "float32x4", scope="local")
            sums = T.alloc_buffer((5 * PIXELS,), "float32x4", scope="local")
            wide = T.alloc_buffer((PIXELS,), "float32x4", scope="local")
            for i in T.serial(STEPS):
                if i * GROUP + tx < VECTORS:
                    weights[i * GROUP + tx] = w[i * GROUP + tx]
            T.evaluate(T.tvm_storage_sync("shared"))
            for i in T.unroll(6 * PIXELS):
                inputs[i] = x[i // PIXELS * SIZE + (bx * GROUP + tx) * PIXELS + i % PIXELS]
            for i in T.unroll(5 * PIXELS):
                sums[i] = T.Broadcast(T.float32(0), 4)
            for b in T.serial(36):
                for p in T.unroll(PIXELS):
                    wide[p] = T.Broadcast(T.float32(0), 4)
                for c in T.unroll(24):
                    for p in T.unroll(PIXELS):
                        wide[p] = (
                            weights[b * 44 + c] * T.Broadcast(T.Shuffle([inputs[c // 4 * PIXELS + p]], [c % 4]), 4)
                            + wide[p]
                        )
                for p in T.unroll(PIXELS):
                    wide[p] = T.max(wide[p], T.Broadcast(T.float32(0), 4))
                for q in T.unroll(4):
                    for c in T.unroll(5):
                        for p in T.unroll(PIXELS):
                            sums[c * PIXELS + p] = (
                                weights[b * 44 + 24 + q * 5 + c] * T.Broadcast(T.Shuffle([wide[p]], [q]), 4)
                                + sums[c * PIXELS + p]
                            )
            for i in T.unroll(5 * PIXELS):
                y[i // PIXELS * SIZE + (bx * GROUP + tx) * PIXELS + i % PIXELS] = sums[i]


def module() -> tvm.IRModule:
    return tvm.IRModule({"fused": fused})
