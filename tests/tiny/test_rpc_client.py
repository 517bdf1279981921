"""RpcRunner without TVM: what becomes of a client process that dies, and of what a server says of itself."""

import sys

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact, Tensor
from sr_tvm.records.module import Module
from sr_tvm.runners import base, tracker_client
from sr_tvm.runners.base import Session
from sr_tvm.runners.rpc import RpcRunner
from sr_tvm.system import child


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Replace the client process by the Python code given; it gets PARENT FD like the real one."""
    monkeypatch.setattr(tracker_client, "wait_for_free", lambda *_: None)

    def become(code):
        program, script = tmp_path / "client.py", tmp_path / "python"
        program.write_text(code)
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$3" "$4"\n')
        script.chmod(0o755)
        monkeypatch.setattr(child.sys, "executable", str(script))
        return RpcRunner("127.0.0.1:9190", "box")

    return become


def test_one_that_does_not_start_is_quoted(client):
    with client("import sys; sys.exit('ImportError: libtvm.so: no such file')") as device:
        with pytest.raises(SrTvmError, match=r"does not start: exit code 1: ImportError: libtvm.so: no such file;"):
            device.info()
        assert device._idle == []


READY = (
    "import os, socket, sys\n"
    "from sr_tvm.system.channel import Channel\n"
    "channel = Channel(socket.socket(fileno=int(sys.argv[2])))\n"
    "channel.send({})\n"
    "channel.receive()\n"
)


@pytest.mark.parametrize(
    ("dying", "words"),
    [
        ("sys.stderr.write('what():  no such kernel\\n\\n'); sys.exit(7)", r"exit code 7: what\(\):  no such kernel$"),
        ("import faulthandler; faulthandler.enable(); os.abort()", r"signal SIGABRT: File .*client.py"),
        (
            "import faulthandler; faulthandler.enable(); os.write(2, b'terminate called: bad module\\n'); os.abort()",
            r"signal SIGABRT: terminate called: bad module$",
        ),
        ("os.kill(os.getpid(), 9)", r"signal SIGKILL$"),
    ],
)
def test_one_that_crashes_is_quoted(client, dying, words):
    with client(READY + dying) as device, pytest.raises(SrTvmError, match=f"box at tracker .* crashed: {words}"):
        device.info()


def test_a_server_can_not_change_our_conditions(tmp_path, monkeypatch):
    shape = (Tensor("x", (1, 3, 4, 4)),)
    artifact = Artifact(
        "m.onnx", "0" * 64, "cpu", {"kind": "llvm"}, "model.so", "0" * 64, shape, shape, folder=tmp_path
    )
    server = {
        "tvm": "0.27", "machine": "aarch64", "governor": None, "cpu": ["x"], "threads": 64, "clock": "thread-cpu",
        "schedule": "tuned", "method": "in process", "repeats": 1, "anything": "else",
    }  # fmt: skip
    answers = {"time": {"samples": [[1e-3, 2e-3]], "number": 3}, "info": {"info": server}}

    class Answers(Session):
        def __init__(self, runner):
            self.runner = runner

        def ask(self, operation, arrays=(), *, seconds=None, **request):
            return answers[operation], []

        def close(self):
            pass

    monkeypatch.setattr(RpcRunner, "open", lambda runner, hold=0.0: Answers(runner))
    monkeypatch.setattr(base, "module_of", lambda artifact: Module("", "", "", "", "", ""))
    assert RpcRunner("127.0.0.1:9190", "box", threads=2).measure(artifact, repeats=2).conditions == {
        "tvm": "0.27", "machine": "aarch64", "threads": 2, "clock": "wall", "schedule": "default",
        "repeats": 2, "runs_per_sample": 3, "method": "rpc time_evaluator",
    }  # fmt: skip
