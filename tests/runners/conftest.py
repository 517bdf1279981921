"""A tiny WDSR artifact made with TVM alone, and a real tracker with one server."""

import numpy as np
import pytest
from device_nets import tiny_artifact

from sr_tvm.records.architecture import Architecture, Block

HEIGHT, WIDTH = 12, 16
KEY = "box"


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    architecture = Architecture(2, 4, (Block(8, 3),))
    return tiny_artifact(tmp_path_factory.mktemp("artifact"), architecture, HEIGHT, WIDTH)


@pytest.fixture(scope="session")
def picture():
    return np.random.default_rng(1).random((1, 3, HEIGHT, WIDTH), dtype=np.float32)


@pytest.fixture(scope="session")
def tracker():
    from sr_tvm.runners.tracker import start_tracker

    with start_tracker() as address:
        yield address


@pytest.fixture(scope="session")
def server(tracker):
    from sr_tvm.runners.tracker import start_server

    with start_server(tracker, KEY) as running:
        yield running


@pytest.fixture
def device(tracker, server):
    from sr_tvm.runners.rpc import RpcRunner

    with RpcRunner(tracker, KEY, deadline=60) as box:
        yield box
