"""Databases on disk: crashes, merging, shipping."""

import json
import logging

import pytest
from tuning_helpers import TARGET, FakeBench, module
from tvm.s_tir.meta_schedule.database import JSONDatabase

from sr_tvm.build import kernels
from sr_tvm.build.records import RecordFolder, open_sources
from sr_tvm.build.replay import replay
from sr_tvm.build.schedule import schedule
from sr_tvm.errors import SrTvmError
from sr_tvm.records import schedules
from sr_tvm.records.schedules import (
    RECORDS,
    WORKLOADS,
    export_best,
    open_database,
    shipped_folders,
)
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.tasks import find_tasks
from sr_tvm.tuning.tune import tune


@pytest.fixture(scope="module")
def mod():
    return module()


@pytest.fixture(scope="module")
def tuned(mod, tmp_path_factory):
    """Both tasks have records."""
    folder = tmp_path_factory.mktemp("tuned")
    tune(mod, TARGET, folder, TuneOptions(24, per_generation=4), bench=FakeBench())
    return folder


def copied(tuned, folder):
    for name in (WORKLOADS, RECORDS):
        (folder / name).write_bytes((tuned / name).read_bytes())
    return folder


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_half_written_record_is_dropped_with_a_warning(tuned, tmp_path, caplog, cut):
    whole = len(JSONDatabase(work_dir=str(tuned)).get_all_tuning_records())
    path = copied(tuned, tmp_path) / RECORDS
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING):
        records = open_database(tmp_path).get_all_tuning_records()
    lost = 0 if cut == 1 else 1  # only the newline is missing: the record is whole
    assert len(records) == whole - lost
    assert ("dropped 1 half-written" in caplog.text) == bool(lost)
    caplog.clear()
    assert len(open_database(tmp_path).get_all_tuning_records()) == whole - lost and not caplog.text


@pytest.mark.parametrize("name", [RECORDS, WORKLOADS])
def test_reading_touches_nothing(tuned, tmp_path, caplog, name):
    """A search may be at work there, and the half line be the one that it is writing."""
    path = copied(tuned, tmp_path) / name
    path.write_bytes(path.read_bytes()[:-40])
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()}
    with caplog.at_level(logging.WARNING):
        database = open_database(tmp_path, create=False)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino) for p in tmp_path.iterdir()} == before
    assert f"{path}: dropped 1 half-written" in caplog.text
    records = database.get_all_tuning_records()
    assert 0 < len(records) < len(JSONDatabase(work_dir=str(tuned)).get_all_tuning_records())
    assert len(database.get_top_k(records[0].workload, 1)) == 1


def test_half_written_workload_takes_its_records_along(tuned, tmp_path):
    path = copied(tuned, tmp_path) / WORKLOADS
    path.write_bytes(path.read_bytes()[:-500])
    records = open_database(tmp_path).get_all_tuning_records()
    whole = JSONDatabase(work_dir=str(tuned)).get_all_tuning_records()
    assert 0 < len(records) < len(whole)


def test_appending_after_a_repair(mod, tuned, tmp_path):
    path = copied(tuned, tmp_path) / RECORDS
    path.write_bytes(path.read_bytes()[:-2])
    tune(mod, TARGET, tmp_path, TuneOptions(40, per_generation=4), bench=FakeBench())
    for line in path.read_text().splitlines():
        json.loads(line)


def test_no_database_there(tmp_path):
    with pytest.raises(SrTvmError, match="no tuning database there"):
        open_database(tmp_path, create=False)


def test_rubbish_is_refused_or_dropped(tmp_path):
    (tmp_path / WORKLOADS).write_text('["1", "not a module"]\n')
    with pytest.raises(SrTvmError, match="not a MetaSchedule database"):
        open_database(tmp_path)


def test_export_keeps_the_best_small_and_replayable(mod, tuned, tmp_path):
    out = tmp_path / "logs" / "cpu" / "toy"
    count = export_best(tuned, out, top=1, meta={"device": "none"})
    tasks = find_tasks(mod, TARGET)
    assert count == len(tasks) == 2
    assert (out / WORKLOADS).stat().st_size < 0.5 * (tuned / WORKLOADS).stat().st_size
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["schema"], meta["device"]) == ("sr-tvm/tuning-log", "none")
    before, after = open_database(tuned), open_database(out, create=False)
    for task in tasks:
        best = [d.query_tuning_record(task.mod, TARGET.tvm_target(), "main") for d in (before, after)]
        assert float(best[0].run_secs[0]) == float(best[1].run_secs[0])
        assert str(best[0].trace) == str(best[1].trace)
    scheduled, names = replay(mod, after, TARGET.tvm_target())
    assert len(names) == 2


def test_shipped_folders_merge(mod, tuned, tmp_path):
    assert shipped_folders("cpu", tmp_path) == ()
    export_best(tuned, tmp_path / "cpu" / "b", top=1)
    other = module(size=20)
    options = TuneOptions(24, per_generation=4)
    tune(other, TARGET, tmp_path / "work", options, bench=FakeBench())
    export_best(tmp_path / "work", tmp_path / "cpu" / "a", top=2)
    folders = shipped_folders("cpu", tmp_path)
    assert [p.name for p in folders] == ["a", "b"] and shipped_folders("mali", tmp_path) == ()
    sources = [RecordFolder(folder, f"the log {folder.name}") for folder in folders]
    for m, name in ((mod, "b"), (other, "a")):
        scheduled = schedule(m, TARGET, sources)
        rows = kernels.rows(scheduled, "cpu")
        assert [row["schedule"] for row in rows] == ["tuned"] * 2
        assert all(row["record"].startswith(f"{name}/{RECORDS}: workload ") for row in rows)
        told = f"2 of 2 kernels scheduled by the log {name}"
        assert kernels.notes(rows, sources, None) == kernels.notes(rows, sources, folders["ab".index(name)]) == (told,)
        # Records that were named and not used do not pass for those that were.
        passed_over = "0 of 2 kernels scheduled by the tuning records mine: none of them fits"
        assert kernels.notes(rows, sources, tmp_path / "mine") == (told, passed_over)


def test_a_folder_named_like_a_shipped_one_does_not_pass_for_it(mod, tuned, tmp_path, monkeypatch):
    shipped, mine = tmp_path / "logs" / "toy", tmp_path / "toy"
    export_best(tuned, shipped, top=1)
    tune(module(size=20), TARGET, mine, TuneOptions(8, per_generation=4), bench=FakeBench())  # of another network
    monkeypatch.setattr(schedules, "shipped_folders", lambda target: (shipped,))
    sources = open_sources("cpu", mine, use_shipped=True)
    rows = kernels.rows(schedule(mod, TARGET, sources), "cpu")
    assert all(row["record"].startswith("shipped/toy/") for row in rows)
    assert kernels.notes(rows, sources, mine) == (
        "2 of 2 kernels scheduled by the shipped tuning log toy",
        "0 of 2 kernels scheduled by the tuning records toy: none of them fits",
    )


def test_export_of_nothing(tmp_path):
    open_database(tmp_path / "empty")
    with pytest.raises(SrTvmError, match="no finished records"):
        export_best(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
