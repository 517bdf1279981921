"""A whole network's counts: its kernels, as often as a run of it launches them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.device_code import DeviceCode


@dataclass(frozen=True)
class NetworkCount:
    """Counts of a network for one GPU.

    Attributes:
        counts: One for each kernel, in the order of the first launch.
        calls: How often a run of the network launches each, by name.
        macs: Multiply-accumulates of the network as direct convolutions; None: as its kernels compute them, padding
            included.
    """

    gpu: str
    mesa: str
    counts: tuple[Count, ...]
    calls: dict[str, int]
    macs: float | None = None

    @property
    def useful_macs(self) -> float:
        """Multiply-accumulates that the network asks for, where they are known; else those that the kernels compute."""
        return self.macs if self.macs is not None else self._sum(lambda c: c.macs * c.items)

    @property
    def slots(self) -> float:
        """Issue slots of all launched work-items of all kernels, copies and idle work-items included."""
        return self._sum(lambda c: c.total_slots)

    @property
    def mac_per_slot(self) -> float:
        """Useful multiply-accumulates for an issue slot."""
        return self.useful_macs / self.slots if self.slots else 0.0

    @property
    def estimated_ms(self) -> float | None:
        """Milliseconds of all launches, estimated: no phone was asked. None: the GPU's rates are not published.

        Of each launch it is the larger of computing and of loading.
        """
        if any(c.estimated_ms is None for c in self.counts):
            return None
        return self._sum(lambda c: c.estimated_ms or 0.0)

    @property
    def footprint(self) -> float:
        """Bytes of buffers and images that the kernels touch, each its own once."""
        return self._sum(lambda c: c.footprint)

    @property
    def problems(self) -> dict[str, str]:
        """By kernel, why its counts can't be trusted."""
        return {c.name: c.problem for c in self.counts if c.problem}

    def _sum(self, what: Callable[[Count], float]) -> float:
        return sum(what(c) * self.calls[c.name] for c in self.counts)

    def to_json(self) -> dict[str, Any]:
        """Write the counts as a JSON object.

        Returns:
            The GPU, the compiler, each kernel's counts and calls, and the properties of the whole.
        """
        derived = ("useful_macs", "slots", "mac_per_slot", "estimated_ms", "footprint", "problems")
        return {
            "gpu": self.gpu,
            "compiler": f"Mesa {self.mesa}, static: not the vendor's compiler, an estimate",
            "kernels": [{**c.to_json(), "calls": self.calls[c.name]} for c in self.counts],
            **{name: getattr(self, name) for name in derived},
        }


def count_network(code: DeviceCode, gpu: str, macs: float | None = None) -> NetworkCount:
    """Count what the kernels of a compiled network execute in one run of it.

    Args:
        code: Its OpenCL C, and what is known of its kernels.
        gpu: A name of ``gpus.json``, such as "adreno-660".
        macs: Multiply-accumulates of the network as direct convolutions; None: not known.

    Returns:
        The counts of each kernel, and how often it is launched.

    Raises:
        SrTvmError: The GPU is unknown, the compilers are not there, or a kernel does not build.
    """
    calls = Counter(code.calls)
    by_name = {launch.name: launch for launch in code.launches}
    counts = count_sources([(code.text, [by_name[name] for name in calls])], gpu)[0]
    return NetworkCount(gpu, counts[0].mesa if counts else "", tuple(counts), dict(calls), macs)
