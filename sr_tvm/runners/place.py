"""Where modules run, seen from a process with TVM: this CPU, or a server behind RPC."""

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm.rpc.base import RPC_SESS_MASK
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.records.timer import DEVICE, THREAD_CPU
from sr_tvm.regions.value import GLOBAL
from sr_tvm.runners import library, tracker_client
from sr_tvm.runtimes.opencl import backend
from sr_tvm.system import machine


class Place(ABC):
    """TVM's device, how libraries come to it, and how calls there are timed.

    Attributes:
        where: The place in words, for messages.
        device: TVM's device that is worked on.
        stopped: Set from another thread: take no more samples.
    """

    where: str
    device: Any
    stopped = False  # set from another thread: take no more samples

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """Tell what the place says of itself.

        Returns:
            "tvm", "machine" and "cpu", each None or absent where it can't tell; "opencl" is an OpenCL device's name.
        """

    @abstractmethod
    def load(self, module: Module) -> Any:
        """Load a module's library, checked against its digest.

        Args:
            module: The module, with its library on this machine.

        Returns:
            The loaded TVM module.
        """

    @abstractmethod
    def seconds(
        self, call: Callable[[], Any], owner: Any, name: str, arguments: Sequence[Any], clock: str, number: int,
        repeats: int,
    ) -> list[float]:  # fmt: skip
        """Time a call.

        Args:
            call: Makes the call, without arguments.
            owner: The TVM module or virtual machine that has the function, for timing on its own clock.
            name: The function of ``owner`` that ``call`` calls.
            arguments: Those that ``call`` gives it.
            clock: One of the clocks of :class:`~sr_tvm.records.timer.Timer`.
            number: Calls per sample.
            repeats: Samples.

        Returns:
            The samples, each the mean of ``number`` calls in seconds; fewer once the place is stopped.
        """

    def use(self, device: str, target: str) -> None:
        """Work on another kind of device from now on.

        Args:
            device: TVM's name of the kind, such as "cpu" or "opencl".
            target: The name of the target that runs on it, for messages.
        """
        return

    def guard(self, seconds: float | None) -> None:
        """Tell the place how long the call that begins may take.

        Args:
            seconds: From now on; None once the call is over.
        """
        return

    def tensor(self, array: np.ndarray) -> Any:
        """Copy an array to the device.

        Args:
            array: Any shape and type that TVM has.

        Returns:
            TVM's tensor.
        """
        return tvm.runtime.tensor(array, self.device)

    def empty(self, shape: Sequence[int], dtype: str, scope: str = GLOBAL) -> Any:
        """Allocate a tensor on the device, of no particular content.

        Args:
            shape: Of the tensor.
            dtype: Of its values, such as "float32".
            scope: The memory it lies in; "global" or a kind of image.

        Returns:
            TVM's tensor.
        """
        return tvm.runtime.empty(shape, dtype, self.device, None if scope == GLOBAL else scope)

    @abstractmethod
    def per_kernel(self, machine: Any, module: Module, inputs: Sequence[np.ndarray], repeats: int) -> list[dict]:
        """Time each kernel of a virtual machine whose inputs are set.

        Args:
            machine: The virtual machine, of this place.
            module: The module that it was made of.
            inputs: What its inputs are, for places that must set them again.
            repeats: Inferences to time.

        Returns:
            Rows {"kernel": name, "ms": median total per inference, "calls": calls per inference}, slowest first.
        """


class LocalPlace(Place):
    """This process."""

    def __init__(self, threads: int) -> None:
        self.threads, self.where, self.device = threads, "this machine", tvm.cpu(0)

    @override
    def info(self) -> dict[str, Any]:
        here = {"tvm": tvm.__version__, "machine": machine.machine(), "cpu": machine.cpu_name()}
        return {**here, **_gpu(self.device)}

    @override
    def use(self, device: str, target: str) -> None:
        from sr_tvm.runners import vm

        self.device = vm.open_device(device)

    @override
    def load(self, module: Module) -> Any:
        self.use(module.device, module.target)
        with library.copied(module.library, module.digest) as path:
            return tvm.runtime.load_module(str(path))

    @override
    def seconds(
        self, call: Callable[[], Any], owner: Any, name: str, arguments: Sequence[Any], clock: str, number: int,
        repeats: int,
    ) -> list[float]:  # fmt: skip
        if clock == DEVICE:
            return _evaluate(owner, name, arguments, self.device, number, repeats)
        now = time.thread_time_ns if clock == THREAD_CPU else time.perf_counter_ns
        samples = []
        for _ in range(repeats):
            if self.stopped:
                break
            start = now()
            for _ in range(number):
                call()
            samples.append((now() - start) * 1e-9 / number)
        return samples

    @override
    def per_kernel(self, machine: Any, module: Module, inputs: Sequence[np.ndarray], repeats: int) -> list[dict]:
        from sr_tvm.runners import vm

        return vm.per_kernel(machine, repeats, self.threads, self.device)


def _gpu(device: Any) -> dict[str, str]:
    """Return the name of an OpenCL device, as ``opencl``; nothing for a CPU."""
    kind = tvm.device(backend.KIND).dlpack_device_type()
    # Behind RPC the number of the session is added, in multiples of a power of two.
    if device.dlpack_device_type() % RPC_SESS_MASK != kind:
        return {}
    return {backend.KIND: str(device.device_name)}


def _evaluate(
    owner: Any, name: str, arguments: Sequence[Any], device: Any, number: int, repeats: int
) -> list[float]:  # fmt: skip
    """Return times by TVM's time_evaluator, on the clock of the device or, of a CPU, of its process."""
    evaluator = owner.time_evaluator(name, device, number=number, repeat=repeats)
    return [float(seconds) for seconds in evaluator(*arguments).results]


class RpcPlace(Place):
    """A session on a TVM RPC server, found through a tracker.

    Args:
        tracker: The tracker's address, "HOST:PORT".
        key: The kind of server.
        seconds: That finding a free one may take.
        lease: Seconds after which the server ends the session.
        threads: That kernels are to use there.

    Raises:
        SrTvmError: No such server is free, it runs another TVM, or it can't use so many threads.
    """

    def __init__(self, tracker: str, key: str, seconds: float, lease: float, threads: int) -> None:
        from tvm import rpc

        self.threads = threads
        host, port, match = tracker_client.request(tracker, key, seconds)
        # A float timeout kills the stock C++ server.
        self.remote = rpc.connect(host, port, match, session_timeout=int(lease) + 1)
        self.where = f"the server {key!r} at {host}:{port}"
        self.facts = self._handshake()
        self.loaded: dict[str, tuple[str, Any]] = {}
        self.device = self.remote.cpu(0)
        self._alarm = self.function("sr_tvm.server.alarm")
        self.use_threads(threads)

    def guard(self, seconds: float | None) -> None:
        """Have a server of ours end the session if the call that begins takes longer: then it serves others again.

        Args:
            seconds: That the call may take; None once it is over.
        """
        if self._alarm is not None:
            self._alarm(0 if seconds is None else int(seconds) + 1)

    def function(self, name: str) -> Callable[..., Any] | None:
        """Look up a global function of the server.

        Args:
            name: As it is registered there.

        Returns:
            The function; None where the server has no such one.
        """
        try:
            return self.remote.get_function(name)
        except (AttributeError, RuntimeError, ValueError):
            return None

    def _handshake(self) -> dict[str, Any]:
        """Return who is there. A stock server tells its machine at most: there a tensor is sent and read back instead.

        Raises:
            SrTvmError: The server runs another TVM, or returns a tensor changed.
        """
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

    def use_threads(self, count: int) -> None:
        """Let kernels on the server use a number of threads.

        Args:
            count: Threads.

        Raises:
            SrTvmError: The server can't set the number, or uses another one.
        """
        ours = self.function("sr_tvm.server.threads")
        if ours is not None:
            got = int(ours(count))
        else:
            configure, ask = self.function("runtime.config_threadpool"), self.function("runtime.NumThreads")
            if configure is None or ask is None:
                raise SrTvmError(f"{self.where} can't set its number of threads")
            configure(1, count)
            got = int(ask())
        if got != count:
            raise SrTvmError(f"{self.where} uses {got} threads; {count} were asked for")

    @override
    def info(self) -> dict[str, Any]:
        return {**self.facts, **_gpu(self.device)}

    @override
    def use(self, device: str, target: str) -> None:
        self.device = self.remote.device(device, 0)
        if device == backend.KIND:  # of our servers, which can build what TVM lacks, and say why there is none
            ensure = self.function("sr_tvm.server.ensure_opencl")
            problem = str(ensure()) if ensure is not None else ""
            if problem:
                raise SrTvmError(f"{self.where} can't run target {target}: {problem}")
        if not self.device.exist:
            raise SrTvmError(f"{self.where} has no {device} device, which target {target} runs on")

    def load(self, module: Module) -> Any:
        """Upload a module's library under a name of its own, once a session, and load it on the server.

        Args:
            module: The module, with its library on this machine.

        Returns:
            The loaded TVM module, on the server.

        Raises:
            SrTvmError: The library is for another architecture, or the server has no such device.
        """
        there = self.facts["machine"]
        if there is not None and there != module.machine:
            raise SrTvmError(
                f"{module.library}: made for {module.machine} (target {module.target}), but {self.where} is {there}; "
                "compile for a target that fits it"
            )
        self.use(module.device, module.target)
        if module.digest not in self.loaded:
            name = f"{uuid.uuid4().hex}.so"
            self.remote.upload(bytearray(library.read(module.library, module.digest)), name)
            self.loaded[module.digest] = name, self.remote.load_module(name)
        return self.loaded[module.digest][1]

    @override
    def seconds(
        self, call: Callable[[], Any], owner: Any, name: str, arguments: Sequence[Any], clock: str, number: int,
        repeats: int,
    ) -> list[float]:  # fmt: skip
        return _evaluate(owner, name, arguments, self.device, number, repeats)

    @override
    def per_kernel(self, machine: Any, module: Module, inputs: Sequence[np.ndarray], repeats: int) -> list[dict]:
        ask = self.function("sr_tvm.server.per_operator")
        if ask is None:
            raise SrTvmError(f"{self.where} can't time single kernels: only servers started by sr-tvm can")
        tensors = json.dumps([{"shape": x.shape, "dtype": str(x.dtype)} for x in inputs])
        return json.loads(str(ask(self.loaded[module.digest][0], tensors, repeats, self.threads, module.device)))
