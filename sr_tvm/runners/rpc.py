"""A device behind a TVM RPC tracker: a phone, or a server on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

import numpy as np

from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.measurement import Measurement
from sr_tvm.runners import base, elf, tracker_client, wire

START_SECONDS = 120.0
# How long a server may stay busy before we say so.
BUSY_SECONDS = 5.0
# How long a child process that closed its connection may take to end, and how much of its last words is looked at.
DYING_SECONDS, TAIL_BYTES = 3.0, 65536
# TVM's target kind -> the device that its kernels run on; every other kind runs on the CPU.
DEVICE_KINDS = {"opencl": "opencl", "vulkan": "vulkan"}
# What of a server's description of itself goes into a measurement's conditions.
SERVER_FACTS = ("tvm", "tvm_ffi", "machine", "cpu", "governor")


class RpcDevice:
    """Runs artifacts on a server of kind ``key`` behind ``tracker`` ("HOST:PORT").

    Calls are made by a child process, since TVM's client waits for ever on a server that went silent: one that
    has not finished within ``deadline`` seconds (connecting, uploading and running together) is killed. Close
    the device, or use it in a ``with`` block.

    Raises:
        SrTvmError: from any method: the tracker or the server does not answer in time, no server has the key, all are
            busy, the library is for another architecture, TVM's versions differ, or the run failed over there.
    """

    def __init__(self, tracker: str, key: str, deadline: float = 60.0, threads: int = 1) -> None:
        tracker_client.parse_address(tracker)
        if not deadline > 0:
            raise SrTvmError(f"deadline is {deadline}; seconds above 0 are allowed")
        if threads < 1:
            raise SrTvmError(f"threads is {threads}; 1 or more is allowed")
        self.name = key
        self.tracker, self.key, self.deadline, self.threads = tracker, key, float(deadline), threads
        self._worker: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._complaints: IO[bytes] | None = None

    def __enter__(self) -> RpcDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> dict[str, Any]:
        """What the server says of itself: tvm, machine, cpu; None where it can't tell."""
        return self._call({"operation": "info"})[0]["server"]

    def run(self, artifact: Artifact, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return self._artifact("run", artifact, base.check_inputs(artifact, inputs))[1]

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        base.check_repeats(repeats)
        answer, _ = self._artifact("measure", artifact, base.random_inputs(artifact, seed), repeats=repeats)
        conditions = {
            # Only what a server may tell, and never over what we know ourselves.
            **{name: value for name in SERVER_FACTS if isinstance(value := answer["server"].get(name), str)},
            "threads": self.threads,
            "clock": "wall",
            "repeats": repeats,
            "runs_per_sample": answer["runs_per_sample"],
            "method": "rpc time_evaluator",
        }
        return base.measurement(self.name, artifact, answer["samples"], conditions)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        base.check_repeats(repeats)
        inputs = base.random_inputs(artifact)
        tensors = json.dumps([{"shape": x.shape, "dtype": str(x.dtype)} for x in inputs])
        return self._artifact("per_operator", artifact, inputs, repeats=repeats, tensors=tensors)[0]["rows"]

    def close(self) -> None:
        """End the child process. The device can be used again: the next call starts another."""
        if self._socket is not None:
            self._socket.close()
        if self._worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait()
        if self._complaints is not None:
            self._complaints.close()
        self._worker = self._socket = self._complaints = None

    def __del__(self) -> None:
        if getattr(self, "_worker", None) is not None:
            self.close()

    def _artifact(
        self, operation: str, artifact: Artifact, inputs: list[np.ndarray], **extra: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        request = {
            "operation": operation,
            "library": str(artifact.library_path.resolve()),
            "digest": artifact.library_sha256,
            "machine": elf.library_machine(artifact.library_path),
            "target": artifact.target,
            "kind": DEVICE_KINDS.get(artifact.tvm_target.get("kind", "llvm"), "cpu"),
            **extra,
        }
        return self._call(request, inputs)

    def _call(
        self, request: dict[str, Any], inputs: list[np.ndarray] | None = None
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        # First without TVM, so that an absent tracker or an unknown key is told at once.
        tracker_client.wait_for_free(self.tracker, self.key, BUSY_SECONDS)
        sock = self._connected()
        until = time.monotonic() + self.deadline
        request = {
            **request, "tracker": self.tracker, "key": self.key, "seconds": self.deadline, "threads": self.threads
        }  # fmt: skip
        try:
            sock.settimeout(self.deadline)
            wire.send(sock, request, inputs)
            answer, arrays = wire.receive(sock, until)
        except TimeoutError:
            self.close()
            raise SrTvmError(
                f"{self.key} at tracker {self.tracker}: {request['operation']} did not finish within "
                f"{self.deadline:g} s; the server hangs, or needs a longer deadline"
            ) from None
        except OSError:
            last = self._last_words()
            self.close()
            raise SrTvmError(f"{self.key} at tracker {self.tracker}: the RPC client crashed: {last}") from None
        except BaseException:  # Ctrl-C: the call's answer must not be taken for the next one's
            self.close()
            raise
        if "error" in answer:
            self.close()
            where = f"{self.key} at tracker {self.tracker}: " if answer.get("remote") else ""
            raise SrTvmError(where + answer["error"])
        return answer, arrays

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._worker is not None and self._worker.poll() is None:
            return self._socket
        self.close()
        ours, theirs = socket.socketpair()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
        with theirs:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "sr_tvm.runners.worker", str(os.getpid()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._complaints,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self._socket = ours
        try:
            wire.receive(ours, time.monotonic() + START_SECONDS)
        except TimeoutError:
            self.close()
            raise SrTvmError(
                f"the RPC client process did not start within {START_SECONDS:g} s; see 'sr-tvm doctor'"
            ) from None
        except OSError:
            last = self._last_words()
            self.close()
            raise SrTvmError(f"the RPC client process did not start: {last}; see 'sr-tvm doctor'") from None
        except BaseException:
            self.close()
            raise
        return ours

    def _last_words(self) -> str:
        """How the child process ended, and the last line that it wrote."""
        assert self._worker is not None and self._complaints is not None
        try:
            code = self._worker.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            ended = "it closed the connection"
        else:
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        fd = self._complaints.fileno()
        # pread: the child shares the file's position.
        text = os.pread(fd, TAIL_BYTES, max(0, os.fstat(fd).st_size - TAIL_BYTES)).decode(errors="replace")
        # After a crash faulthandler lists frames and modules: what was said before that tells more, else where it was.
        before, _, dump = text.partition("Fatal Python error")
        frames = (dump.partition("Current thread")[2] or dump).splitlines()
        last = one_line(before) or next((line.strip() for line in frames if line.startswith("  File ")), "")
        return f"{ended}: {last}" if last else ended
