"""A child process and the channel to it: what is exchanged, what has a deadline, and how its death is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.system import death, program
from sr_tvm.system.child import Child, RequestFailed
from sr_tvm.system.death import ChildDied

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, subprocess, sys, time
from sr_tvm.errors import SrTvmError
from sr_tvm.system import channel

def handle(request, arrays):
    exec(request.get("code", ""))
    return {"got": request, "pid": os.getpid()}, arrays

channel.serve(handle, hello={"arguments": sys.argv[3:]})
"""


@pytest.fixture
def start(tmp_path):
    """Start a child that runs the code in its requests, as no child of ours does, and sends arrays back."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    started = []

    def begin(*arguments, **how):
        environment = {"PYTHONPATH": str(ROOT)}
        started.append(Child("", "the child", environment, arguments, command=(sys.executable, str(path)), **how))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


def gone(pid):
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_messages_and_arrays_come_back_as_they_were(start):
    child = start("one", "two")
    assert child.hello == {"arguments": ["one", "two"]}
    rng = np.random.default_rng(0)
    sent = [
        np.array(3.5), np.zeros((0, 4), np.float32), np.array([True, False]), np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(24, dtype=np.float16).reshape(4, 6).T, rng.random((3, 300, 400), np.float32),
        rng.integers(0, 255, 65536, np.uint8), rng.integers(0, 255, 65535, np.uint8),
    ]  # fmt: skip
    for _ in range(3):
        answer, back = child.ask({"text": "ü" * 70000, "numbers": [1, 2.5, None]}, sent, seconds=30)
        assert answer["got"] == {"text": "ü" * 70000, "numbers": [1, 2.5, None]}
        for was, now in zip(sent, back, strict=True):
            assert was.dtype == now.dtype and was.shape == now.shape and np.array_equal(was, now)


def test_an_error_there_is_an_answer(start):
    child = start()
    with pytest.raises(RequestFailed, match="^no such kernel$") as told:
        child.ask({"code": "raise SrTvmError('no such kernel')"}, seconds=30)
    with pytest.raises(SrTvmError, match="^KeyError: 'x'$") as untold:
        child.ask({"code": "{}['x']"}, seconds=30)
    assert told.value.told and not untold.value.told and child.alive


@pytest.mark.parametrize(
    ("code", "how", "words"),
    [
        ("os._exit(7)", "exit code 7", ""),
        ("print('x' * 999999); print('the end', flush=True); os._exit(0)", "exit code 0", "the end"),
        ("os.write(2, b'what():  bad\\n'); os.abort()", "signal SIGABRT", "what():  bad"),
        ("os.kill(os.getpid(), 40)", "signal 40", ""),
        ("os.kill(os.getpid(), 9)", "signal SIGKILL", ""),
    ],
)
def test_a_death_is_told(start, code, how, words):
    child = start()
    with pytest.raises(ChildDied) as died:
        child.ask({"code": code}, seconds=30)
    error = died.value
    assert (error.what, error.how, error.words, error.late) == ("the child", how, words, False)
    assert str(error) == f"the child crashed: {how}" + (f": {words}" if words else "")


def test_want_of_memory_is_told_where_the_kernel_tells(start, tmp_path, monkeypatch):
    counts = tmp_path / "memory.events"
    counts.write_text("low 0\noom_kill 2\n")
    monkeypatch.setattr(death, "OOM_COUNTS", (str(tmp_path / "none"), str(counts)))
    child = start()
    counts.write_text("low 0\noom_kill 3\n")
    with pytest.raises(ChildDied, match="crashed: signal SIGKILL, while memory ran out$"):
        child.ask({"code": "os.kill(os.getpid(), 9)"}, seconds=30)


def test_one_that_cannot_start_is_told(tmp_path):
    with pytest.raises(ChildDied, match="the child does not start: .*/none: No such file or directory; see"):
        Child("", "the child", command=(str(tmp_path / "none"),))
    with pytest.raises(ChildDied, match="the child does not start: exit code 1; see 'sr-tvm doctor'$"):
        Child("", "the child", command=("/bin/false",), starts=1)
    with pytest.raises(ChildDied, match="the child does not start: its start did not finish within 0.1 s") as late:
        Child("", "the child", command=("/bin/sleep", "60"), arguments=("60",), seconds=0.1, starts=1)
    assert late.value.late


@pytest.mark.parametrize("code", ["time.sleep(60)", "os.write(int(sys.argv[2]), b'x'); time.sleep(60)"])
def test_a_deadline_ends_it_even_amid_a_message(start, code):
    child = start()
    with pytest.raises(ChildDied, match="child was killed: wait did not finish within 0.3 s: so far; it hangs") as late:
        child.ask({"operation": "wait", "code": f"print('so far', flush=True); {code}"}, seconds=0.3)
    assert late.value.late and not child.alive and gone(child.pid)


def test_a_frozen_one_that_takes_nothing_has_a_deadline(start):
    child = start()
    os.kill(child.pid, signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(ChildDied, match="did not finish within 0.3 s"):
        child.ask({}, [np.zeros(1 << 22, np.float32)] * 4, seconds=0.3)
    assert time.monotonic() - begin < 5 and gone(child.pid)


def test_what_is_no_message_ends_it(start):
    child = start()
    with pytest.raises(ChildDied, match="a message of [0-9]+ bytes: the other side speaks something else$"):
        child.ask({"code": "os.write(int(sys.argv[2]), b'Content-Length: 3\\r\\n')"}, seconds=30)
    assert not child.alive


def test_another_thread_can_end_it(start):
    child = start()
    threading.Timer(0.3, child.kill).start()
    with pytest.raises(ChildDied, match="crashed"):
        child.ask({"code": "time.sleep(60)"}, seconds=30)
    assert gone(child.pid)


def test_ctrl_c_is_the_parents(start):
    child = start()
    assert child.ask({"code": "os.kill(os.getpid(), signal.SIGINT)"}, seconds=30)[0]["pid"] == child.pid
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)  # a terminal's does not come there
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            child.ask({"code": "time.sleep(60)"}, seconds=30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not child.alive and gone(child.pid)


def test_it_ends_with_its_parent_and_all_that_it_started(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    parent = (
        "import os, signal, sys, threading\n"
        "from sr_tvm.system.child import Child\n"
        f"child = Child('', 'x', command=(sys.executable, {str(tmp_path / 'program.py')!r}))\n"
        "code = '''request[0] = subprocess.Popen(['sleep', '99']).pid'''\n"
        "print(child.ask({'code': code}, seconds=30)[0]['got']['0'])\n"
        "print(child.pid, flush=True)\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "child.ask({'code': 'time.sleep(99)'}, seconds=99)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2 and all(map(gone, pids))


def test_a_program_is_run_to_its_end():
    done = program.run([sys.executable, "-c", "import sys; print(1); sys.exit(3)"], "it", 30)
    assert (done.returncode, done.stdout) == (3, "1\n")
    with pytest.raises(ChildDied, match="^it was killed: it did not finish within 1 s: so far; try less$") as late:
        program.run(["/bin/sh", "-c", "echo so far; exec sleep 60"], "it", 1, hint="try less")
    assert late.value.late
    with pytest.raises(ChildDied, match="^it does not start: /no/such: No such file or directory$"):
        program.run(["/no/such"], "it", 1)
