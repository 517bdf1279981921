"""What our own RPC server offers beyond TVM's: who it is, a pool of so many threads, time per kernel.

Any other server of TVM's protocol works too, only without these. Imported in the server process.
"""

from __future__ import annotations

import json
import re
import signal
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tvm
import tvm_ffi

from sr_tvm.runners import threads, vm
from sr_tvm.runtimes.opencl import backend
from sr_tvm.system import machine

PREFIX = "sr_tvm.server."
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


def plain_name(name: str) -> str:
    """Refuse what is not a plain file name: stock servers accept ../ and absolute paths for uploads.

    Args:
        name: The path that a client asks for.

    Returns:
        The same name.

    Raises:
        ValueError: It has a folder, or begins with a dot.
    """
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"path {name!r} refused: only plain file names inside the session's folder are allowed")
    return name


def register(folder: Path) -> None:
    """Register the functions of our server with TVM, in the process of one session.

    Args:
        folder: The session's own; files are kept inside it.
    """

    def within(name: str) -> str:
        return str(folder / plain_name(name))

    def load_module(name: str) -> tvm.runtime.Module:
        return tvm.runtime.load_module(within(name))

    def download_linked_module(name: str) -> bytearray:
        # The stock one calls a linker on the device for .o and .tar; artifacts are linked before they are sent.
        return bytearray(Path(within(name)).read_bytes())

    def info() -> str:
        return json.dumps(
            {
                "tvm": version("apache-tvm"),
                "tvm_ffi": version("apache-tvm-ffi"),
                "machine": machine.machine(),
                "cpu": machine.cpu_name(),
                "governor": machine.governor(),
            }
        )

    def per_operator(library: str, tensors: str, repeats: int, thread_count: int, kind: str) -> str:
        rng = np.random.default_rng(0)
        inputs = [rng.random(t["shape"], dtype=np.float32).astype(t["dtype"]) for t in json.loads(tensors)]
        device = vm.open_device(kind)
        loaded = vm.load(within(library), device)
        vm.set_inputs(loaded, inputs, device)
        return json.dumps(vm.per_kernel(loaded, int(repeats), int(thread_count), device))

    def alarm(seconds: int) -> None:
        """End this session's process in so many seconds, if no other alarm comes before; 0 for never."""
        signal.alarm(int(seconds))  # whose default action ends a process that is deep in a kernel, too

    # TVM's own upload, download and remove ask workpath where a name lies.
    for name, function in (
        ("tvm.rpc.server.workpath", within),
        ("tvm.rpc.server.load_module", load_module),
        ("tvm.rpc.server.download_linked_module", download_linked_module),
        (PREFIX + "info", info),
        (PREFIX + "alarm", alarm),
        (PREFIX + "threads", lambda count: threads.start_pool(int(count))),
        (PREFIX + "per_operator", per_operator),
        # In the session's own process: what a driver starts would not survive the fork.
        (PREFIX + "ensure_opencl", lambda: backend.why_none() or ""),
    ):
        tvm_ffi.register_global_func(name, function, override=True)
