"""The cache of compiled networks: what is removed when it grows too large, and what never is."""

import os
import threading

import pytest
from filelock import FileLock

from sr_tvm.upscaling import cache

DAY = 86400


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four entries of 1000 bytes, unused for 40, 30, 20 and 10 days; a limit of 2500."""
    monkeypatch.setattr(cache, "LIMIT_BYTES", 2500)
    for days in (10, 40, 20, 30):
        entry = tmp_path / f"{days}"
        entry.mkdir()
        (entry / "model.so").write_bytes(b"0" * 900)
        (entry / "artifact.json").write_bytes(b"0" * 100)
        age(entry, days)
    return tmp_path


def age(entry, days):
    now = cache.time.time()
    os.utime(entry, (now - days * DAY, now - days * DAY))


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != cache.LOCK)


def test_the_longest_unused_go_first(folder):
    assert cache.size(folder) == 4000
    cache.prune(folder)
    assert names(folder) == ["10", "20"] and cache.size(folder) == 2000
    cache.prune(folder)
    assert names(folder) == ["10", "20"]


def test_the_one_in_use_stays(folder):
    cache.prune(folder, keep=folder / "40")
    assert names(folder) == ["10", "40"]


def test_what_was_used_just_now_stays_whatever_the_size(folder):
    for entry in folder.iterdir():
        age(entry, 0)
    cache.prune(folder)
    assert len(names(folder)) == 4


def test_leftovers_of_a_killed_process_go_too(folder):
    left = folder / "40.1234abcd"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "x").write_bytes(b"0" * 10)
    age(left, 50)
    cache.prune(folder)
    assert names(folder) == ["10", "20"]


def test_an_entry_that_comes_into_use_while_pruning_stays(folder):
    """A process that uses an entry holds the lock; the pruner waits for it, and then looks at the entry again."""
    pruner = threading.Thread(target=cache.prune, args=(folder,))
    with FileLock(folder / cache.LOCK):
        pruner.start()
        pruner.join(0.2)
        assert pruner.is_alive() and len(names(folder)) == 4
        age(folder / "40", 0)
    pruner.join(10)
    assert names(folder) == ["10", "40"]


def test_nothing_goes_while_another_process_keeps_the_lock(folder, monkeypatch):
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)
    with FileLock(folder / cache.LOCK):
        cache.prune(folder)
    assert len(names(folder)) == 4


def test_no_folder_yet(tmp_path):
    cache.prune(tmp_path / "none")
    assert cache.size(tmp_path / "none") == 0
