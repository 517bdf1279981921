"""The station: what answers a session's requests, in a process with TVM: inputs, modules, outputs compared, times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Argument, Module
from sr_tvm.records.timer import Timer
from sr_tvm.runners import vm
from sr_tvm.runners.deviation import difference
from sr_tvm.runners.place import Place

KEPT = 8  # loaded modules: the reference, the candidate, and a few that may come again
Answer = tuple[dict[str, Any], list[np.ndarray]]


class Loaded(ABC):
    """A module at a place, with its arguments. It can be called, and timed as :class:`~sr_tvm.records.timer.Timed`."""

    @abstractmethod
    def call(self) -> None:
        """Run the module once, on its inputs."""

    @abstractmethod
    def outputs(self) -> dict[str, np.ndarray]:
        """Read what the last call computed.

        Returns:
            The outputs by name, on this machine.
        """

    @abstractmethod
    def seconds(self, clock: str, number: int, repeats: int) -> list[float]:
        """Take samples of the time of a call.

        Args:
            clock: One of the clocks of :class:`~sr_tvm.records.timer.Timer`.
            number: Calls per sample.
            repeats: Samples.

        Returns:
            The samples, each the mean of ``number`` calls in seconds.
        """

    def prepare(self) -> None:
        """Make every output wrong, and every input right, before a call whose result will be looked at."""
        return


class LoadedFunction(Loaded):
    """A module of kind "function": one entry that takes all tensors as arguments."""

    def __init__(self, place: Place, module: Module, inputs: dict[str, np.ndarray], placed: dict[str, Any]) -> None:
        self.place, self.arguments, self.inputs = place, module.arguments, inputs
        self.library = place.load(module)
        self.function = self.library["main"]
        constants: Any = np.load(module.constants, allow_pickle=False) if module.constants else {}
        self.tensors = [self._tensor(a, placed, constants) for a in module.arguments]

    def _tensor(self, argument: Argument, placed: dict[str, Any], constants: Any) -> Any:
        if argument.role == "input":
            return placed[argument.name]
        if argument.role == "constant":
            return self.place.tensor(constants[argument.name])
        return self.place.empty(argument.shape, argument.dtype, argument.scope)

    @override
    def prepare(self) -> None:
        for argument, tensor in zip(self.arguments, self.tensors, strict=True):
            if argument.role == "inout":
                tensor.copyfrom(self.inputs[argument.name])
            elif argument.role == "output":  # what a kernel leaves unwritten shows
                kind = np.dtype(argument.dtype).kind
                tensor.copyfrom(np.full(argument.shape, np.nan if kind == "f" else -1, argument.dtype))

    @override
    def call(self) -> None:
        self.function(*self.tensors)

    @override
    def outputs(self) -> dict[str, np.ndarray]:
        pairs = zip(self.arguments, self.tensors, strict=True)
        return {a.name: tensor.numpy() for a, tensor in pairs if a.role in ("output", "inout")}

    @override
    def seconds(self, clock: str, number: int, repeats: int) -> list[float]:
        return self.place.seconds(self.call, self.library, "main", self.tensors, clock, number, repeats)


class Machine(Loaded):
    """A module of kind "vm": an artifact's library in TVM's virtual machine."""

    def __init__(self, place: Place, module: Module) -> None:
        self.place = place
        library = place.load(module)
        self.vm = relax.VirtualMachine(library, place.device)

    def set(self, inputs: Sequence[np.ndarray]) -> None:
        """Set the inputs of the next calls.

        Args:
            inputs: In the artifact's order, of its shapes and types.
        """
        vm.set_inputs(self.vm, inputs, self.place.device)

    @override
    def call(self) -> None:
        self.vm.invoke_stateful(vm.FUNCTION)

    @override
    def outputs(self) -> dict[str, np.ndarray]:
        return {f"output {i}": value for i, value in enumerate(vm.outputs(self.vm))}

    @override
    def seconds(self, clock: str, number: int, repeats: int) -> list[float]:
        return self.place.seconds(self.call, self.vm, "invoke_stateful", [vm.FUNCTION], clock, number, repeats)


class Station:
    """Modules, inputs and an expected output at one place; :meth:`answer` is all that a session asks."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.inputs: dict[str, np.ndarray] = {}
        self.placed: dict[str, Any] = {}
        self.expected: dict[str, np.ndarray] | None = None
        self.modules: OrderedDict[str, Loaded] = OrderedDict()

    def answer(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
        """Answer one request of a session.

        Args:
            request: Its "operation": "info", "place", "load", "run", "expect", "check", "time" or "operators"; and its
                fields.
            arrays: The tensors that belong to it.

        Returns:
            The fields of the answer, which JSON can hold, and the tensors that belong to it.
        """
        operations: dict[str, Callable[[dict[str, Any], list[np.ndarray]], Answer]] = {
            "info": lambda *_: ({"info": self.place.info()}, []),
            "place": self._place,
            "load": self._load,
            "run": self._run,
            "expect": self._expect,
            "check": self._check,
            "time": self._time,
            "operators": self._operators,
        }
        return operations[request["operation"]](request, arrays)

    def _place(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
        """Take new inputs by name. Modules and the expected output go before they come, and with them their memory.

        Returns:
            An empty answer.
        """
        self.modules.clear()
        self.expected = None
        self.placed = {}
        self.place.use(request["device"], request["target"])
        self.inputs = dict(zip(request["names"], arrays, strict=True))
        self.placed = {name: self.place.tensor(array) for name, array in self.inputs.items()}
        return {}, []

    def _module(self, request: dict[str, Any], name: str = "module") -> Loaded:
        module = Module.from_json(request[name])
        where = f"{module.key} {module.digest}"
        if where in self.modules:
            self.modules.move_to_end(where)
            return self.modules[where]
        while len(self.modules) >= request.get("keep", KEPT):  # first: one may hold gigabytes
            self.modules.popitem(last=False)
        if module.kind == "function":
            self.modules[where] = LoadedFunction(self.place, module, self.inputs, self.placed)
        else:
            self.modules[where] = Machine(self.place, module)
        return self.modules[where]

    def _load(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> Answer:
        self._module(request)
        return {}, []

    def _ready(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Loaded:
        loaded = self._module(request)
        if isinstance(loaded, Machine):
            loaded.set(arrays)
        return loaded

    def _run(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
        loaded = self._ready(request, arrays)
        loaded.call()
        return {}, list(loaded.outputs().values())

    def _once(self, loaded: Loaded) -> dict[str, np.ndarray]:
        loaded.prepare()
        loaded.call()
        return loaded.outputs()

    def _expect(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> Answer:
        """Return what is wrong with a module's result; from now on modules must compute what this one does."""
        found = {name: array.copy() for name, array in self._once(self._module(request)).items()}
        bad = [n for n, array in found.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if bad:
            return {"problem": f"wrong result: {bad[0]} is not finite with the default"}, []
        self.expected = found
        return {"problem": None}, []

    def _check(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> Answer:
        if self.expected is None:
            raise SrTvmError("nothing is expected yet: 'expect' comes before 'check'")
        found = self._once(self._module(request))
        problems = (difference(name, found[name], expected) for name, expected in self.expected.items())
        return {"problem": next(filter(None, problems), None)}, []

    def _time(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
        """Return samples of a module and, in turns with them, of a reference; the first call of all is not counted.

        Raises:
            SrTvmError: The samples would take longer than the request allows.
        """
        timer = Timer(**request["timer"])
        timed = [self._ready(request, arrays)]
        if request.get("reference") is not None:
            timed.append(self._module(request, "reference"))
        timed[0].call()
        once = timed[0].seconds(timer.clock, 1, 1)[0]
        number = timer.number(once)
        left = request.get("seconds")
        if left is not None and timer.budget_s is None and once * number * timer.repeats > left:
            raise SrTvmError(
                f"{timer.repeats} repeats of {once * 1e3:.0f} ms need about {once * number * timer.repeats:.0f} s, "
                f"which is past the deadline of {request['deadline']:g} s; ask for fewer repeats or a longer deadline"
            )
        samples = timer.sample(timed, number, request.get("cutoff"), lambda: self.place.stopped)
        return {"samples": samples, "number": number}, []

    def _operators(self, request: dict[str, Any], arrays: list[np.ndarray]) -> Answer:
        loaded, module = self._ready(request, arrays), Module.from_json(request["module"])
        assert isinstance(loaded, Machine)
        return {"rows": self.place.per_kernel(loaded.vm, module, arrays, request["repeats"])}, []
