"""The speed dataset keeps every whole record, whatever happens in the middle of a write."""

import json
import multiprocessing
import os
import signal

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed.dataset import append, check_writable, load


def record(n):
    return Measurement("cpu", "cpu", f"net{n}.onnx", "0" * 64, (1, 3, 8, 8), (float(n + 1), float(n + 2)))


def test_what_goes_in_comes_out(tmp_path):
    path = tmp_path / "deep" / "speed.jsonl"
    for n in range(3):
        append(path, record(n))
    assert load(path) == [record(n) for n in range(3)]


@pytest.mark.parametrize("keep", [1, 20, 100, -1])
def test_half_a_line_is_dropped_and_then_repaired(tmp_path, keep):
    path = tmp_path / "speed.jsonl"
    append(path, record(0))
    whole = path.read_bytes()
    line = json.dumps(record(1).to_json()).encode()
    path.write_bytes(whole + (line[:keep]))
    with pytest.warns(UserWarning, match="left out"):
        assert load(path) == [record(0)]
    with pytest.warns(UserWarning, match="cut off"):
        append(path, record(2))
    assert load(path) == [record(0), record(2)]


def test_a_last_line_that_only_lacks_its_newline_is_kept(tmp_path):
    path = tmp_path / "speed.jsonl"
    path.write_bytes(json.dumps(record(0).to_json()).encode())
    assert load(path) == [record(0)]
    append(path, record(1))
    assert load(path) == [record(0), record(1)]


def test_half_of_the_very_first_line(tmp_path):
    path = tmp_path / "speed.jsonl"
    path.write_bytes(b'{"schema": "sr-')
    with pytest.warns(UserWarning):
        assert load(path) == []
    with pytest.warns(UserWarning):
        append(path, record(0))
    assert load(path) == [record(0)]


@pytest.mark.parametrize(
    "bad", [b"{}", b"[1]", b"null", b"not json", b"", b'{"schema": "sr-tvm/measurement"}', b"\xff"]
)
def test_a_bad_line_is_named_not_skipped(tmp_path, bad):
    path = tmp_path / "speed.jsonl"
    append(path, record(0))
    path.write_bytes(path.read_bytes() + bad + b"\n")
    append(path, record(1))
    with pytest.raises(SrTvmError, match="line 2"):
        load(path)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("conditions", {"threads": "x"}, "field conditions.threads is 'x'; a whole number"),
        ("conditions", {"threads": True}, "conditions.threads is True"),
        ("conditions", {"clock": ["wall"]}, "conditions.clock"),
        ("conditions", [1], "field conditions is"),
        ("device", None, "field device is None"),
        ("architecture", "wdsr", "field architecture is 'wdsr'"),
        ("architecture", {"scale": 2, "channels": "4", "blocks": []}, "field architecture: .*channels is '4'"),
        ("samples", [10**400], r"field samples\[0\] is 1000"),
    ],
)
def test_a_field_of_a_wrong_type_is_named_with_its_line(tmp_path, field, value, says):
    path = tmp_path / "speed.jsonl"
    append(path, record(0))
    path.write_bytes(path.read_bytes() + json.dumps({**record(1).to_json(), field: value}).encode() + b"\n")
    with pytest.raises(SrTvmError, match=rf"speed.jsonl, line 2: .*{says}"):
        load(path)


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    bad = Measurement("cpu", "cpu", "n", "0" * 64, (1,), (1.0,), conditions={"threads": "two"})
    with pytest.raises(SrTvmError, match="conditions.threads is 'two'"):
        append(tmp_path / "speed.jsonl", bad)
    assert not (tmp_path / "speed.jsonl").exists()


def test_a_record_that_is_longer_than_one_read(tmp_path):
    path = tmp_path / "speed.jsonl"
    long = Measurement("cpu", "cpu", "n", "0" * 64, (1,), tuple(float(i) for i in range(40_000)))
    append(path, long)
    data = path.read_bytes()
    path.write_bytes(data + data[: len(data) // 2])
    with pytest.warns(UserWarning, match="cut off"):
        append(path, record(0))
    assert load(path) == [long, record(0)]


def test_no_such_file_and_no_such_place(tmp_path):
    with pytest.raises(SrTvmError, match="no such file"):
        load(tmp_path / "none.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(SrTvmError, match="cannot be written"):
        append(tmp_path / "file" / "speed.jsonl", record(0))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "nowhere" / "speed.jsonl")
    with pytest.raises(SrTvmError, match=r"link.jsonl: cannot be written: No such file or directory"):
        append(tmp_path / "link.jsonl", record(0))


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "new" / "speed.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(SrTvmError, match="is not a folder"):
        check_writable(tmp_path / "file" / "speed.jsonl")
    with pytest.raises(SrTvmError, match="cannot be written: Is a directory"):
        check_writable(tmp_path)


def _write(path, start):
    for n in range(start, start + 25):
        append(path, record(n))


def test_several_writers(tmp_path):
    path = tmp_path / "speed.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, 100 * i)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {m.model for m in load(path)} == {f"net{100 * i + n}.onnx" for i in range(4) for n in range(25)}


@pytest.mark.filterwarnings("ignore:.*half a line")
def test_a_killed_writer(tmp_path):
    path = tmp_path / "speed.jsonl"

    def write_for_ever():
        n = 0
        while True:
            append(path, record(n))
            n += 1

    writer = multiprocessing.get_context("fork").Process(target=write_for_ever)
    writer.start()
    while not path.exists() or path.stat().st_size < 5000:
        assert writer.is_alive()
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    append(path, record(0))
    found = load(path)
    assert len(found) > 3 and [m.model for m in found[:3]] == [record(n).model for n in range(3)]
