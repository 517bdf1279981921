"""Jobs side by side, each a chain of commands in child processes. What has its result is skipped."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.system.death import how_ended
from sr_tvm.training.settings import WeightsFile

WAITING, RUNNING, DONE, FAILED, LEFT_OUT, STOPPED = "waiting", "running", "done", "failed", "left out", "stopped"
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec as little as possible should happen
TAIL = 4096  # bytes of a log that its last lines are looked for in


@dataclass(frozen=True)
class JobStep:
    """One command of a job.

    Attributes:
        title: What it does, in a few words.
        argv: The command line, in words.
        result: The last file that it writes.
        asked: Where the result is a history, what its run must have been asked to do, by the names of its settings; a
            path stands for the weights in that file.
        files: Names of all that it writes beside the result.
        source: What the result is made of: a result that tells nothing of how it was made counts only if it is not
            older than this.
    """

    title: str
    argv: tuple[str, ...]
    result: Path
    asked: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    source: Path | None = None

    def done(self) -> bool:
        """Tell whether the result is there, and not older than the source.

        Returns:
            True if the command need not run.

        Raises:
            SrTvmError: The result is damaged, or of other settings or other weights; the message says how to make it
                anew.
        """
        if not self.result.is_file() or self.stale():
            return False
        if not self.asked:
            return True
        try:
            run = dict(json.loads(self.result.read_text(encoding="utf-8"))["run"])
        except (OSError, ValueError, KeyError, TypeError):
            raise SrTvmError(f"{self.result}: damaged; {self._remedy()}") from None
        for name, value in self.asked.items():
            told = name.replace("_", " ")
            if name not in run:
                raise SrTvmError(f"{self.result}: made by an older version, with no {told} in it; {self._remedy()}")
            if isinstance(value, Path):
                if not value.is_file():
                    continue  # cleared away since
                value = str(WeightsFile.of(value))
            if run[name] != value:
                what = f"another {told}" if isinstance(value, dict) else f"{told} {run[name]}, now it is {value}"
                raise SrTvmError(f"{self.result.parent}: was made with {what}; {self._remedy()}")
        return True

    def stale(self) -> bool:
        """Tell whether the result is older than its source, or gone.

        Returns:
            True if it is; False where there is no source, or it is gone itself.
        """
        try:
            return self.source is not None and self.result.stat().st_mtime_ns < self.source.stat().st_mtime_ns
        except FileNotFoundError:
            return not self.result.exists()

    def _remedy(self) -> str:
        """Return what to do, with the names of this step's own files.

        In the same folder, or below it, there may be the results of others.
        """
        own = [self.result.parent / name for name in self.files]
        return f"name another --work, or make it anew after  {shlex.join(['rm', *map(str, _there(own, self.result))])}"

    def state(self) -> str:
        """Say how far the command is, for a list.

        Returns:
            "done", "begun", "older than" its source, what is wrong with the result, or "" where there is nothing yet.
        """
        try:
            if self.done():
                return DONE
        except SrTvmError as error:
            return str(error)
        if self.source and self.result.is_file():
            return f"older than {self.source.name}"
        return "begun" if self.asked and any(self.result.parent.glob("checkpoint*")) else ""


@dataclass(frozen=True)
class Job:
    """Commands that run one after another.

    Attributes:
        name: Its own, which is also its log's.
        needs: Names of the jobs that come before it.
        steps: In order.
        finish: Called once all steps have their results; it must be quick.
    """

    name: str
    needs: tuple[str, ...]
    steps: tuple[JobStep, ...]
    finish: Callable[[], None] = lambda: None


class JobRunner:
    """Runs jobs, at most ``slots`` at once; :meth:`tick` looks after them and must be called again and again.

    Attributes:
        jobs: By name.
        logs: Folder with a log for each job, which grows from run to run.
        slots: Commands that may run at once.
        keep: File descriptors that children hold open too.
        state: Of each job by name.
        why: Of a job that failed or was left out the reason, by name.
        children: What runs, by the name of its job: the process and its step.
        environment: Of the children.
        stopping: Whether nothing more is to be started.
    """

    def __init__(self, jobs: Sequence[Job], logs: Path, slots: int, threads: int, keep: Sequence[int] = ()) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.logs, self.slots, self.keep = logs, slots, tuple(keep)
        self.state = dict.fromkeys(self.jobs, WAITING)
        self.why: dict[str, str] = {}
        self.children: dict[str, tuple[subprocess.Popen[bytes], JobStep]] = {}
        more = {"OMP_NUM_THREADS": str(threads), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        self.environment = os.environ | more
        self.stopping = False

    def log(self, name: str) -> Path:
        """Find where the output of a job's commands goes.

        Args:
            name: The job's.

        Returns:
            The path; there is no file before the first command.
        """
        return self.logs / f"{name}.log"

    def tick(self) -> bool:
        """Take note of what ended, and start what can be started.

        Returns:
            True while a command runs, so that this must be called again.
        """
        for name, (child, step) in list(self.children.items()):
            if child.poll() is not None:
                del self.children[name]
                self._ended(name, child.returncode, step)
        before: dict[str, str] = {}
        while before != self.state:  # what has its result already lets others begin
            before = dict(self.state)
            for name in [n for n, state in before.items() if state == WAITING]:
                self._consider(self.jobs[name])
        return bool(self.children)

    def stop(self, now: bool = False) -> None:
        """Have all children end; nothing more is started.

        Args:
            now: Whether to kill them; if not they are asked to, and write a checkpoint first.
        """
        self.stopping = True
        for child, _ in self.children.values():
            child.send_signal(signal.SIGKILL if now else signal.SIGTERM)

    def _consider(self, job: Job) -> None:
        """Start a waiting job, if it is its turn."""
        states = {need: self.state[need] for need in job.needs}
        if broken := [need for need, state in states.items() if state in (FAILED, LEFT_OUT)]:
            self.state[job.name], self.why[job.name] = LEFT_OUT, f"needs {broken[0]}"
        elif not self.stopping and len(self.children) < self.slots and set(states.values()) <= {DONE}:
            self._next(job)

    def _next(self, job: Job) -> None:
        """Start the first command that has no result yet; if there is none, the job is done."""
        try:
            step = next((s for s in job.steps if not s.done()), None)
            if step is None:
                job.finish()
                self.state[job.name] = DONE
                return
            self.logs.mkdir(parents=True, exist_ok=True)
            with self.log(job.name).open("ab") as log:
                log.write(f"\n$ {shlex.join(step.argv)}\n".encode())
                log.flush()
                child = subprocess.Popen(step.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=self.environment, start_new_session=True, pass_fds=self.keep,
                                         preexec_fn=_end_with_us)  # fmt: skip
        except (SrTvmError, OSError) as error:
            self.state[job.name], self.why[job.name] = FAILED, str(error)
            return
        self.children[job.name] = child, step
        self.state[job.name] = RUNNING

    def _ended(self, name: str, code: int, step: JobStep) -> None:
        if code == 0 and step.result.is_file() and not step.stale():
            if self.stopping and step is not self.jobs[name].steps[-1]:
                self.state[name] = STOPPED
            else:
                self._next(self.jobs[name])
        elif self.stopping:
            self.state[name] = STOPPED
        else:
            missing = f"{step.result} is {'as old as before' if step.result.is_file() else 'not there'}"
            told = how_ended(code) if code else missing
            self.state[name] = FAILED
            self.why[name] = "\n".join([*last_lines(self.log(name), 8), f"({step.title}: {told}; {self.log(name)})"])


def _there(paths: Sequence[Path], last: Path) -> list[Path]:
    """Return those paths that exist, and ``last`` in any case."""
    return [path for path in paths if path != last and path.exists()] + [last]


def _end_with_us() -> None:
    """Have the child, in which this runs, asked to stop when we are gone, however that came about."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def last_lines(path: Path, count: int) -> list[str]:
    """Read the last lines of a log that are not empty.

    Args:
        path: The log, which may not be there.
        count: Lines, at most.

    Returns:
        The lines, in order, of the last 4 KiB; fewer where there are no more, none where there is no log.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
