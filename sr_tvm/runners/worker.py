"""The process that makes RPC calls for an RpcDevice: a call that hangs or aborts takes only this process with it.

Run as ``python -m sr_tvm.runners.worker PARENT FD``. Answers one request at a time; each opens a session of its own.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from sr_tvm import machine
from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.runners import base, library, tracker_client, wire
from sr_tvm.runners.lifeline import die_with_parent

Answer = tuple[dict[str, Any], list[np.ndarray]]


class Session:
    """One RPC session: connected, checked, with the artifact's library uploaded."""

    def __init__(self, request: dict[str, Any]) -> None:
        from tvm import rpc

        host, port, match = tracker_client.request(request["tracker"], request["key"], request["seconds"])
        # A float timeout kills the stock C++ server. The server ends a session that we no longer wait for.
        self.remote = rpc.connect(host, port, match, session_timeout=int(request["seconds"]) + 1)
        self.where = f"the server {request['key']!r} at {host}:{port}"
        self.info = self._handshake()

    def function(self, name: str) -> Callable[..., Any] | None:
        try:
            return self.remote.get_function(name)
        except (AttributeError, RuntimeError, ValueError):
            return None

    def _handshake(self) -> dict[str, Any]:
        """Who is there. A stock server can tell its machine at most; there a tensor is sent and read back instead."""
        import tvm

        ask = self.function("sr_tvm.server.info")
        if ask is not None:
            info = json.loads(str(ask()))
            here = tvm.__version__
            # The wire format is the library's own: only equal versions up to the post-release are known to agree.
            if info["tvm"].split(".post")[0] != here.split(".post")[0]:
                raise SrTvmError(f"{self.where} runs TVM {info['tvm']}, this machine {here}; install the same there")
            return info
        triple = self.function("target.llvm_get_system_triple")
        probe = np.arange(64, dtype="float32")
        echoed = tvm.runtime.tensor(probe, self.remote.cpu(0)).numpy()
        if not np.array_equal(echoed, probe):
            raise SrTvmError(f"{self.where} returned a tensor changed: its TVM is not compatible with this one")
        return {"tvm": None, "machine": machine.machine_of_triple(str(triple())) if triple else None}

    def load(self, request: dict[str, Any]) -> tuple[Any, Any, str]:
        """Upload the library under a name of its own: the virtual machine, its device, and that name."""
        from tvm import relax

        there = self.info["machine"]
        if there is not None and there != request["machine"]:
            raise SrTvmError(
                f"{request['library']}: made for {request['machine']} (target {request['target']}), but "
                f"{self.where} is {there}; compile for a target that fits it"
            )
        device = self.remote.device(request["kind"], 0)
        if not device.exist:
            raise SrTvmError(f"{self.where} has no {request['kind']} device, which target {request['target']} runs on")
        name = f"{uuid.uuid4().hex}.so"
        self.remote.upload(bytearray(library.read(request["library"], request["digest"])), name)
        return relax.VirtualMachine(self.remote.load_module(name), device), device, name

    def use_threads(self, count: int) -> int:
        """Let kernels there use ``count`` threads; the number they use in fact."""
        ours = self.function("sr_tvm.server.threads")
        if ours is not None:
            return int(ours(count))
        configure, ask = self.function("runtime.config_threadpool"), self.function("runtime.NumThreads")
        if configure is None or ask is None:
            raise SrTvmError(f"{self.where} can't set its number of threads")
        configure(1, count)
        return int(ask())


def _prepared(request: dict[str, Any], inputs: list[np.ndarray]) -> tuple[Session, Any, Any, str]:
    from sr_tvm.runners import vm

    session = Session(request)
    loaded, device, name = session.load(request)
    got = session.use_threads(request["threads"])
    if got != request["threads"]:
        raise SrTvmError(f"{session.where} uses {got} threads; {request['threads']} were asked for")
    vm.set_inputs(loaded, inputs, device)
    return session, loaded, device, name


def run(request: dict[str, Any], inputs: list[np.ndarray]) -> Answer:
    from sr_tvm.runners import vm

    _, loaded, _, _ = _prepared(request, inputs)
    loaded.invoke_stateful(vm.FUNCTION)
    return {}, vm.outputs(loaded)


def measure(request: dict[str, Any], inputs: list[np.ndarray]) -> Answer:
    from sr_tvm.runners import vm

    started = time.monotonic()
    session, loaded, device, _ = _prepared(request, inputs)
    once = loaded.time_evaluator("invoke_stateful", device, number=1, repeat=1)(vm.FUNCTION).results[0] * 1e3
    number, repeats = base.runs_per_sample(once), request["repeats"]
    needed, left = once * number * repeats / 1e3, request["seconds"] - (time.monotonic() - started)
    if needed > left:
        raise SrTvmError(
            f"{repeats} repeats of {once:.0f} ms need about {needed:.0f} s, which is past the deadline of "
            f"{request['seconds']:g} s; ask for fewer repeats or a longer deadline"
        )
    timer = loaded.time_evaluator("invoke_stateful", device, number=number, repeat=repeats)
    samples = [seconds * 1e3 for seconds in timer(vm.FUNCTION).results]
    return {"samples": samples, "runs_per_sample": number, "server": session.info}, []


def per_operator(request: dict[str, Any], inputs: list[np.ndarray]) -> Answer:
    if request["kind"] != "cpu":
        raise SrTvmError(f"single kernels can be timed on a CPU only, not on {request['kind']}")
    session, _, _, name = _prepared(request, inputs)
    ask = session.function("sr_tvm.server.per_operator")
    if ask is None:
        raise SrTvmError(f"{session.where} can't time single kernels: only servers started by sr-tvm can")
    return {"rows": json.loads(str(ask(name, request["tensors"], request["repeats"], request["threads"])))}, []


def info(request: dict[str, Any], _inputs: list[np.ndarray]) -> Answer:
    return {"server": Session(request).info}, []


OPERATIONS = {"run": run, "measure": measure, "per_operator": per_operator, "info": info}


def main() -> None:
    parent, fd = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    from sr_tvm.tvm_setup import import_tvm

    import_tvm()  # its seconds belong to the start, not to a call's deadline

    sock = socket.socket(fileno=fd)
    wire.send(sock, {"ready": True})
    while True:
        try:
            request, inputs = wire.receive(sock)
        except ConnectionError:
            os._exit(0)
        try:
            answer, arrays = OPERATIONS[request["operation"]](request, inputs)
        except SrTvmError as error:
            answer, arrays = {"error": str(error)}, []
        except Exception as error:  # whatever TVM raises becomes one line in the parent
            answer, arrays = {"error": one_line(error), "remote": True}, []
        # A session ends when its last reference goes; TVM's errors leave cycles that would keep the server busy.
        gc.collect()
        wire.send(sock, answer, arrays)


if __name__ == "__main__":
    main()
