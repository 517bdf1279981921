"""What the rows of tuning_rpc come to."""

from benchmarks.search.tuning_rpc import REAL, SERVERS, SLEEPING, summarize


def rows(**changed):
    found = [
        {"mode": mode, "servers": n, "wall_s": 80.0 / n, "lost": 0, "sessions_opened": n, "best": {"cuts": [3]}}
        for mode in (REAL, SLEEPING)
        for n in SERVERS
    ]
    found[-1] |= changed
    return found


def test_whole():
    summary = summarize(rows())
    assert summary["speedup_4_servers"] == 4 and summary["speedup_2_servers"] == 2 and summary["lost"] == 0
    assert summary["same_best"] is True and summary["sessions_opened"]["sleeping, 4"] == 4


def test_other_decisions_and_losses_are_seen():
    assert summarize(rows(best={"cuts": []}))["same_best"] is False
    assert summarize(rows(lost=2))["lost"] == 2


def test_a_row_that_failed_or_is_missing_counts():
    for broken in (rows(error="no server"), rows()[:-1]):
        summary = summarize(broken)
        assert summary["speedup_4_servers"] == 0 and summary["lost"] is None and not summary["same_best"]
