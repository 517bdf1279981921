"""Code runs by its content: of two artifacts that lay in one folder, each runs its own."""

import shutil

import numpy as np
import pytest
from device_nets import tiny_artifact

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.records.artifact import Artifact
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.runners.local import LocalRunner

SIZE = (12, 16)
NET = Architecture(2, 4, (Block(8, 3),))


def _written(folder, seed):
    """A network compiled to ``folder``, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    return tiny_artifact(folder, NET, *SIZE, seed=seed)


@pytest.fixture
def expected(tmp_path, picture):
    """The outputs of two networks, each from a folder of its own."""
    return [LocalRunner().run(tiny_artifact(tmp_path / str(i), NET, *SIZE, seed=i), [picture])[0] for i in (1, 2)]


def _outputs(device, folder, picture):
    return [device.run(_written(folder, seed), [picture])[0] for seed in (1, 2)]


def test_in_process(tmp_path, picture, expected):
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_array_equal(_outputs(LocalRunner(), tmp_path / "out", picture), expected)


def test_written_over_in_place(tmp_path, picture, expected):
    """As cp does: the same file, other bytes."""
    folder, device = tmp_path / "out", LocalRunner()
    first = _written(folder, 1)
    np.testing.assert_array_equal(device.run(first, [picture])[0], expected[0])
    other = tiny_artifact(tmp_path / "other", NET, *SIZE, seed=2)
    for name in (other.library, "artifact.json"):
        (folder / name).write_bytes((other.folder / name).read_bytes())
    np.testing.assert_array_equal(device.run(Artifact.load(folder), [picture])[0], expected[1])
    with pytest.raises(SrTvmError, match="not the library that was built"):
        LocalRunner().run(first, [picture])


def test_in_a_child_process(tmp_path, picture, expected):
    with ChildRunner() as runner:
        np.testing.assert_array_equal(_outputs(runner, tmp_path / "out", picture), expected)
        with runner.open() as session:  # and while one session is held
            np.testing.assert_array_equal(_outputs(session, tmp_path / "out", picture), expected)


def test_over_rpc(tmp_path, picture, expected, device):
    outputs = _outputs(device, tmp_path / "out", picture)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    stale = Artifact.load(tmp_path / "out")
    _written(tmp_path / "out", 1)
    with pytest.raises(SrTvmError, match="not the library that was built"):
        device.run(stale, [picture])
