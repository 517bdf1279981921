"""Over a real tracker and server: the same outputs as here, and an error in time for everything that hangs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from sr_tvm.errors import SrTvmError
from sr_tvm.runners import tracker_client
from sr_tvm.runners.local import LocalRunner
from sr_tvm.runners.rpc import RpcRunner
from sr_tvm.runners.tracker import list_devices, start_server, start_tracker
from sr_tvm.system.files import sha256

pytest.importorskip("tornado", reason="TVM's tracker needs the tornado package: pip install tornado")


def children(pid):
    return [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def gone(pid):
    """The process has ended; a zombie nobody has collected yet counts too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.05)


def wait_until_free(tracker, key):
    wait_until(lambda: any(s.key == key and s.free for s in list_devices(tracker)))


@pytest.fixture
def own_server(tracker):
    """A server that a test may freeze or crash."""
    with start_server(tracker, "victim") as running:
        yield running


def test_outputs_equal_local(artifact, picture, device):
    (here,) = LocalRunner().run(artifact, [picture])
    (there,) = device.run(artifact, [picture])
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_measure_and_per_operator(artifact, device):
    record = device.measure(artifact, repeats=4)
    assert len(record.samples) == 4 and record.median > 0
    assert record.device == "box" and record.conditions["clock"] == "wall" and record.conditions["threads"] == 1
    assert record.conditions["machine"] == os.uname().machine
    rows = device.per_operator(artifact, repeats=2)
    assert sum(row["calls"] for row in rows if "conv2d" in row["kernel"]) == 6
    assert set(device.info()) >= {"tvm", "machine", "cpu"}


def test_listing(tracker, server):
    (found,) = [s for s in list_devices(tracker) if s.key == "box"]
    assert found.address == server.address


def test_only_on_localhost(tracker, server):
    ports = {int(address.rsplit(":", 1)[1]) for address in (tracker, server.address)}
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        host, port = address.split(":")
        if state == "0A" and int(port, 16) in ports:
            listening.add((host, int(port, 16)))
    assert listening == {("0100007F", port) for port in ports}


def test_a_session_left_frozen(artifact, tracker, own_server):
    """The process of the session stops in the middle of a measurement."""
    with RpcRunner(tracker, "victim", deadline=60) as device:
        device.info()  # the client process has started
        wait_until_free(tracker, "victim")
        device.deadline = 6
        frozen = []

        def freeze():
            wait_until(lambda: children(own_server.pid))
            for child in children(own_server.pid):
                os.kill(child, signal.SIGSTOP)
                frozen.append(child)

        thread = threading.Thread(target=freeze)
        thread.start()
        start = time.monotonic()
        with pytest.raises(SrTvmError, match="did not finish within 6 s"):
            device.measure(artifact, repeats=900)
        assert time.monotonic() - start < 20
        thread.join()
        # The server ends the frozen session at its time limit and serves again.
        wait_until(lambda: all(gone(child) for child in frozen))
        device.deadline = 60
        wait_until_free(tracker, "victim")
        assert device.measure(artifact, repeats=1).median > 0


def test_a_frozen_server(artifact, picture, tracker, own_server):
    """The server accepts connections (the kernel does) and never answers."""
    with RpcRunner(tracker, "victim", deadline=60) as device:
        device.info()
        wait_until_free(tracker, "victim")
        os.kill(own_server.pid, signal.SIGSTOP)
        device.deadline = 3
        with pytest.raises(SrTvmError, match="did not finish within 3 s"):
            device.run(artifact, [picture])
        assert device._idle == []


def test_a_crashing_session_leaves_the_server_up(artifact, picture, tracker, own_server):
    with RpcRunner(tracker, "victim", deadline=60) as device:
        device.info()
        wait_until_free(tracker, "victim")

        def kill():
            wait_until(lambda: children(own_server.pid))
            for child in children(own_server.pid):
                os.kill(child, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(SrTvmError):
            device.measure(artifact, repeats=900)
        thread.join()
        device.run(artifact, [picture])


def test_no_tracker_there(artifact, picture):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(SrTvmError, match=address):
        RpcRunner(address, "box").run(artifact, [picture])
    with pytest.raises(SrTvmError, match=address):
        list_devices(address)
    with pytest.raises(SrTvmError, match=address), start_server(address, "x"):
        pass
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("command", ["bench", "devices"])
def test_a_silent_tracker_is_told_within_10_seconds(artifact, command, host):
    """As typed: one line with the address, and the 10 s include Python's own start."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"{host}:{silent.getsockname()[1]}"
        arguments = [command, "--tracker", address]
        arguments += [str(artifact.folder), "--key", "box"] if command == "bench" else []
        done = subprocess.run(
            [sys.executable, "-m", "sr_tvm", *arguments], capture_output=True, text=True, timeout=10
        )  # the timeout is the requirement
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"tracker {address}: no answer within 5 s" in line


def test_something_else_than_a_tracker(server):
    with pytest.raises(SrTvmError, match="tracker"):
        tracker_client.servers(server.address, 2)


def test_unknown_key_lists_the_known(artifact, picture, tracker, server):
    with pytest.raises(SrTvmError, match=r"no server has the key 'galaxy'.*box \("):
        RpcRunner(tracker, "galaxy").run(artifact, [picture])


def test_busy_key(artifact, picture, tracker, server, monkeypatch):
    from sr_tvm.runners import rpc

    wait_until_free(tracker, "box")
    monkeypatch.setattr(rpc, "BUSY_SECONDS", 0.5)
    # Claim it as a client would, and never connect: until the server notices, it is taken.
    tracker_client.request(tracker, "box", 5)
    with pytest.raises(SrTvmError, match="every server with key 'box' is busy"):
        RpcRunner(tracker, "box").run(artifact, [picture])
    wait_until_free(tracker, "box")


def test_another_architecture_is_refused_before_the_upload(artifact, picture, device, tmp_path):
    shutil.copytree(artifact.folder, tmp_path / "arm")
    library = tmp_path / "arm" / "model.so"
    data = bytearray(library.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    library.write_bytes(data)
    arm = structs.replace(artifact, folder=tmp_path / "arm", target="android-cpu", library_sha256=sha256(library))
    with pytest.raises(SrTvmError, match=r"made for aarch64 \(target android-cpu\).*is x86_64"):
        device.run(arm, [picture])


@pytest.mark.parametrize("name", ["../evil", "/tmp/sr_tvm_evil", "a/b", "..", "", ".hidden"])
def test_uploads_stay_in_the_session(tracker, server, name):
    from tvm import rpc

    remote = rpc.connect(*tracker_client.request(tracker, "box", 10), session_timeout=30)
    with pytest.raises(Exception, match="refused"):
        remote.get_function("tvm.rpc.server.upload")(name, bytearray(b"x"))
    with pytest.raises(Exception, match="refused"):
        remote.load_module(name)
    remote.upload(bytearray(b"x"), "plain.bin")
    assert bytes(remote.download("plain.bin")) == b"x"
    assert not Path("/tmp/sr_tvm_evil").exists()


def test_past_the_deadline_is_said_first(artifact, tracker, server):
    with RpcRunner(tracker, "box", deadline=60) as device:
        device.info()
        device.deadline = 20
        with pytest.raises(SrTvmError, match="past the deadline of 20 s"):
            device.measure(artifact, repeats=100_000)


@pytest.mark.parametrize("key", ["", "a b", "../x", "a:b"])
def test_bad_keys(tracker, key):
    with pytest.raises(SrTvmError, match="key"), start_server(tracker, key):
        pass


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "h:99999", "h:-1", "h:٣"])
def test_bad_addresses(address):
    with pytest.raises(SrTvmError, match="HOST:PORT"):
        RpcRunner(address, "box")


def test_nothing_outlives_a_killed_parent(tmp_path):
    script = (
        "import os, signal\n"
        "from sr_tvm.runners.tracker import start_server, start_tracker\n"
        "from sr_tvm.runners.rpc import RpcRunner\n"
        "with start_tracker() as tracker, start_server(tracker, 'box') as server:\n"
        "    device = RpcRunner(tracker, 'box')\n"
        "    device.info()\n"
        f"    open({str(tmp_path / 'pids')!r}, 'w').write(f'{{server.pid}} {{device._idle[0].pid}}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: all(gone(pid) for pid in pids))


def test_clean_stop():
    with start_tracker() as tracker, start_server(tracker, "short") as running:
        pid = running.pid
    assert gone(pid)
    with pytest.raises(SrTvmError, match=tracker):
        list_devices(tracker)


STOCK = (
    "import os, sys\n"
    "from sr_tvm.system.channel import belong_to\n"
    "belong_to(os.getppid())\n"
    "from tvm.rpc.server import PopenRPCServerState\n"
    "host, port = sys.argv[1].rsplit(':', 1)\n"
    "PopenRPCServerState('127.0.0.1', 9300, 9800, tracker_addr=(host, int(port)), key='stock', silent=True)\n"
)


@pytest.fixture
def stock_server(tracker):
    """TVM's own Python server, which knows nothing of us."""
    process = subprocess.Popen([sys.executable, "-c", STOCK, tracker], start_new_session=True)
    try:
        wait_until(lambda: any(s.key == "stock" and s.free for s in list_devices(tracker)), 120)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_stock_server(artifact, picture, tracker, stock_server):
    with RpcRunner(tracker, "stock") as device:
        (here,), (there,) = LocalRunner().run(artifact, [picture]), device.run(artifact, [picture])
        np.testing.assert_allclose(there, here, atol=1e-6)
        assert device.info() == {"tvm": None, "machine": os.uname().machine}
        assert device.measure(artifact, repeats=2).median > 0
        with pytest.raises(SrTvmError, match="can't time single kernels"):
            device.per_operator(artifact)
        no_gpu = structs.replace(artifact, tvm_target={"kind": "opencl"}, target="mali")
        # Where our OpenCL runtime was built, TVM's own server has it too: a CPU's kernel then gets an OpenCL tensor.
        with pytest.raises(SrTvmError, match="mali|opencl|device_type"):
            device.run(no_gpu, [picture])


def test_a_client_that_crashes_says_how(tracker, server):
    with RpcRunner(tracker, "box") as device:
        device.info()
        wait_until_free(tracker, "box")
        client = device._idle[0]
        os.kill(client.pid, signal.SIGSEGV)
        wait_until(lambda: gone(client.pid))
        device._child = lambda: client  # it died between the check and the call
        with pytest.raises(SrTvmError, match="box at tracker .* crashed: signal SIGSEGV: File .*channel.py"):
            device.info()


def test_another_version_of_tvm_is_refused():
    import json

    from sr_tvm.runners.place import RpcPlace

    place = RpcPlace.__new__(RpcPlace)
    place.where = "the server"
    place.function = lambda name: lambda: json.dumps({"tvm": "0.26.0.post3", "machine": "aarch64"})
    with pytest.raises(SrTvmError, match=r"runs TVM 0\.26\.0\.post3, this machine 0\.27"):
        place._handshake()


def test_a_killed_parent_leaves_no_client_hanging_on_a_frozen_server(artifact, tmp_path, tracker, own_server):
    script = (
        "import os, signal, threading, time\n"
        "from pathlib import Path\n"
        "from sr_tvm.records.artifact import Artifact\n"
        "from sr_tvm.runners.rpc import RpcRunner\n"
        f"device = RpcRunner({tracker!r}, 'victim')\n"
        "device.info()\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(device._idle[0].pid))\n"
        "time.sleep(1)\n"
        f"os.kill({own_server.pid}, signal.SIGSTOP)\n"
        "threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        f"device.measure(Artifact.load({str(artifact.folder)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: gone(pid))
