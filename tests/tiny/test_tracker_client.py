"""Asking a tracker: one deadline for names, addresses and answers together, and what each silence means."""

import json
import socket
import struct
import threading

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.runners import tracker_client


def message(value):
    body = json.dumps(value).encode()
    return struct.pack("<i", len(body)) + body


@pytest.fixture
def fake_tracker():
    """A tracker with one free server "box" that never hands it out; yields its port."""
    summary = {"server_info": [{"key": "server:box", "addr": ["127.0.0.1", 1]}], "queue_info": {"box": {"free": 1}}}

    def serve(sock):
        with sock:
            sock.sendall(sock.recv(4))
            while head := sock.recv(4):
                question = json.loads(sock.recv(struct.unpack("<i", head)[0]))
                if question[0] == tracker_client.SUMMARY:
                    sock.sendall(message([tracker_client.SUCCESS, summary]))

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            while True:
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def addresses(*ports):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]


def test_the_limit_is_read_when_it_is_used(monkeypatch):
    monkeypatch.setattr(tracker_client, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SrTvmError, match=f"{address}: no answer within 0.2 s"):
            tracker_client.servers(address)


def test_a_name_server_that_is_silent(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(60))
    with pytest.raises(SrTvmError, match=r"tracker phones.example:9190: no answer within 0.2 s"):
        tracker_client.servers("phones.example:9190", 0.2)
    done.set()


def test_an_unknown_name(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SrTvmError, match="phones.example:9190: Name or service not known"):
        tracker_client.servers("phones.example:9190")
    with pytest.raises(SrTvmError, match="is it running"):
        tracker_client.servers("a" * 70 + ".example:9190")


def test_all_addresses_share_the_time(monkeypatch):
    granted = []

    class Silent(socket.socket):
        def connect(self, address):
            granted.append(self.gettimeout())
            raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses(1, 2, 3, 4))
    monkeypatch.setattr(socket, "socket", Silent)
    with pytest.raises(SrTvmError, match="no answer within 5 s"):
        tracker_client.servers("phones.example:9190", 5)
    # None waited in fact, so the last had all of the 5 s left; the first must leave some to the others.
    assert len(granted) == 4 and granted[0] <= 5 / 4 and granted == sorted(granted)


def test_the_address_that_answers_is_used(fake_tracker, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses(closed, fake_tracker))
    assert [s.key for s in tracker_client.servers("phones.example:9190")] == ["box"]


def test_another_client_was_faster(fake_tracker):
    """The tracker says that a server is free, and then keeps us waiting for it."""
    with pytest.raises(SrTvmError, match=r"every server with key 'box' is busy") as caught:
        tracker_client.request(f"127.0.0.1:{fake_tracker}", "box", 0.3)
    assert "is it running" not in str(caught.value)
