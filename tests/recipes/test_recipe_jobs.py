"""The runner of the recipe's jobs, on commands of a few milliseconds."""

import io
import json
import os
import signal
import sys
import threading
import time

import pytest
from rich.console import Console

from recipes import screen
from recipes.jobs import DONE, FAILED, LEFT_OUT, STOPPED, WAITING, Job, JobRunner, JobStep, last_lines
from sr_tvm.errors import SrTvmError

WRITE = "import sys; open(sys.argv[1], 'x').write('made')"  # 'x': fails if it is done twice
# Says when it is ready, and notes that it was asked to stop.
STOPPABLE = """
import signal, sys, time
def note(*_):
    open(sys.argv[1] + ".stopped", "w")
    sys.exit(1)
signal.signal(signal.SIGTERM, note)
open(sys.argv[1] + ".ready", "w")
time.sleep(60)
"""


def job(folder, name, *needs, code=WRITE, more=()):
    step = JobStep("write", (sys.executable, "-c", code, str(folder / name)), folder / name)
    return Job(name, needs, (step, *more), lambda: (folder / f"{name}.shipped").touch())


def run(runner, until=lambda: False):
    begin = time.monotonic()
    while runner.tick() and not until():
        assert time.monotonic() - begin < 60
        time.sleep(0.01)


def runner(folder, *jobs, slots=2):
    return JobRunner(jobs, folder / "logs", slots, 1)


def test_in_order_and_nothing_twice(tmp_path):
    second = JobStep("copy", (sys.executable, "-c", WRITE, str(tmp_path / "a2")), tmp_path / "a2")
    jobs = [job(tmp_path, "b", "a"), job(tmp_path, "a", more=(second,)), job(tmp_path, "c")]
    first = runner(tmp_path, *jobs)
    run(first)
    assert set(first.state.values()) == {DONE}
    made = [(tmp_path / name).stat().st_mtime_ns for name in ("a", "a2", "b")]
    assert made == sorted(made) and (tmp_path / "b.shipped").exists()
    again = runner(tmp_path, *jobs)
    assert not again.tick() and set(again.state.values()) == {DONE}
    assert (tmp_path / "logs/a.log").read_text().count("$ ") == 2


def test_a_failure_stops_what_depends_on_it_alone(tmp_path):
    broken = job(tmp_path, "a", code="print('reading'); raise SystemExit('error: no such picture')")
    silent = job(tmp_path, "silent", code="pass")
    told = runner(tmp_path, broken, job(tmp_path, "b", "a"), job(tmp_path, "c", "b"), job(tmp_path, "d"), silent)
    run(told)
    assert told.state == {"a": FAILED, "b": LEFT_OUT, "c": LEFT_OUT, "d": DONE, "silent": FAILED}
    assert "error: no such picture" in told.why["a"] and "exit code 1" in told.why["a"]
    assert told.why["c"] == "needs b" and "is not there" in told.why["silent"]


def test_at_most_so_many_at_once(tmp_path):
    jobs = [job(tmp_path, str(i), code=STOPPABLE) for i in range(4)]
    told = runner(tmp_path, *jobs, slots=2)
    run(told, until=lambda: len(list(tmp_path.glob("*.ready"))) == 2)
    assert len(told.children) == 2
    told.stop()
    run(told)
    assert list(told.state.values()).count(STOPPED) == 2 and len(list(tmp_path.glob("*.stopped"))) == 2
    assert not list(tmp_path.glob("[23].ready"))


def test_a_killed_parent_takes_its_children_along(tmp_path):
    parent = os.fork()
    if not parent:
        try:
            run(runner(tmp_path, job(tmp_path, "a", code=STOPPABLE)))
        finally:
            os._exit(0)
    begin = time.monotonic()
    while not (tmp_path / "a.ready").exists():
        assert time.monotonic() - begin < 60
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while not (tmp_path / "a.stopped").exists():
        assert time.monotonic() - begin < 60
        time.sleep(0.01)


def test_ctrl_c_stops_all_and_a_second_one_does_not_wait(tmp_path):
    deaf = STOPPABLE.replace("sys.exit(1)", "time.sleep(60)")
    told = runner(tmp_path, job(tmp_path, "a", code=STOPPABLE), job(tmp_path, "b", code=deaf), job(tmp_path, "c", "a"))
    out = io.StringIO()

    def press():
        for end in ("ready", "stopped"):
            while len(list(tmp_path.glob(f"*.{end}"))) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    before = signal.getsignal(signal.SIGINT)
    screen.run(told, Console(file=out))
    assert told.state == {"a": STOPPED, "b": STOPPED, "c": WAITING} and told.stopping and not told.children
    assert out.getvalue().count("stopping after checkpoints") == out.getvalue().count("ended at once") == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "run_of, told",
    [
        ({"steps": 5, "net": {}}, "steps 5, now it is 6"),
        ({"steps": 6, "net": {"b": 2}}, "was made with another net;"),
        ({"steps": 6}, "made by an older version, with no net in it"),
        (5, "damaged"),
    ],
)
def test_a_result_of_other_settings(tmp_path, run_of, told):
    (tmp_path / "history.json").write_text(json.dumps({"run": run_of}))
    step = JobStep("train", ("false",), tmp_path / "history.json", {"steps": 6, "net": {"a": 1}})
    with pytest.raises(SrTvmError, match=told):
        step.done()
    found = runner(tmp_path, Job("a", (), (step,)))
    assert not found.tick() and found.state["a"] == FAILED and told in found.why["a"] and told in step.state()


def test_a_result_of_other_weights(tmp_path):
    weights, result = tmp_path / "weights", tmp_path / "history.json"
    step = JobStep("train", ("false",), result, {"init": weights})
    weights.write_bytes(b"one")
    digest = "7692c3ad3540bb80"  # sha256 of it
    result.write_text(json.dumps({"run": {"init": f"weights (sha256 {digest})"}}))
    assert step.done() and step.state() == DONE
    weights.write_bytes(b"two")
    with pytest.raises(SrTvmError, match="made with init .*make it anew after  rm "):
        step.done()
    weights.unlink()
    assert step.done()


def test_what_to_remove_is_the_own_files_of_a_step(tmp_path):
    """Beside and below them lie the results of other steps."""
    (tmp_path / "search").mkdir()
    for name in ("history.json", "weights", "model.onnx", "search/history.json"):
        (tmp_path / name).write_text(json.dumps({"run": {"steps": 5}}))
    step = JobStep("train", (), tmp_path / "history.json", {"steps": 6}, ("checkpoint", "weights", "history.json"))
    with pytest.raises(SrTvmError, match="after  rm") as error:
        step.done()
    told = str(error.value).split("after  rm ")[1]
    assert told == f"{tmp_path / 'weights'} {tmp_path / 'history.json'}"


def test_a_result_older_than_its_source_is_made_again(tmp_path):
    source, made = tmp_path / "weights", tmp_path / "made"
    copy = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
    step = JobStep("export", (sys.executable, "-c", copy, str(source), str(made)), made, source=source)
    for text in ("one", "two"):
        source.write_text(text)
        if made.exists():
            os.utime(source, ns=(made.stat().st_mtime_ns + 1,) * 2)
        assert not step.done()
        run(runner(tmp_path, Job("a", (), (step,))))
        assert step.done() and made.read_text() == text
    # A command that leaves the old one where it is has failed; it is not tried for ever.
    os.utime(source, ns=(made.stat().st_mtime_ns + 1,) * 2)
    idle = runner(tmp_path, Job("a", (), (JobStep("export", (sys.executable, "-c", ""), made, source=source),)))
    run(idle)
    assert idle.state["a"] == FAILED and "as old as before" in idle.why["a"]


def test_an_export_is_never_begun(tmp_path):
    (tmp_path / "checkpoint.safetensors").touch()
    assert JobStep("train", (), tmp_path / "history.json", {"steps": 6}).state() == "begun"
    assert JobStep("export", (), tmp_path / "model.onnx", source=tmp_path / "weights").state() == ""


def test_last_lines(tmp_path):
    log = tmp_path / "log"
    assert last_lines(log, 1) == []
    log.write_bytes(b"x" * 9000 + "\ngrün\n\nstep 3/9\n".encode())
    assert last_lines(log, 2) == ["grün", "step 3/9"]
