"""A region's timetable played through: every row is there when it is read, and no line buffer is longer than needed."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from region_nets import regions

from sr_tvm.regions.delays import delays, halo


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(regions(), st.integers(1, 5), st.integers(1, 40))
def test_rows_are_there_when_they_are_read(region, rows, height):
    times = delays(region, rows)
    newest = {node.name: -1 for node in region.nodes}  # the last row of the newest step, also beyond the picture
    for step in range(times.steps(height)):
        for node in region.nodes:
            first = (step - times.delay[node.name]) * rows
            newest[node.name] = first + rows - 1
            for row in range(max(first, 0), min(first + rows, height)):
                for name in node.inputs:
                    for read in range(max(row - halo(node), 0), min(row + halo(node), height - 1) + 1):
                        assert newest[name] - times.live[name] < read <= newest[name]
    assert all(last >= height - 1 for last in newest.values())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(regions(), st.integers(1, 5))
def test_no_delay_and_no_line_buffer_could_be_shorter(region, rows):
    times = delays(region, rows)
    for node in region.nodes:
        # One step earlier, the lowest row that some input must have would not be there yet.
        early = times.delay[node.name] - 1
        assert early < 0 or any((early - times.delay[i]) * rows < halo(node) for i in node.inputs)
        spare = times.live[node.name]
        for reader in region.readers[node.name]:
            later = times.delay[reader.name] - times.delay[node.name]
            oldest_read, newest = -halo(reader), (later + 1) * rows - 1  # where the reader makes row 0 first
            spare = min(spare, times.live[node.name] - (newest - oldest_read + 1))
        assert spare == 0 or times.live[node.name] == rows
        assert (
            times.line_buffer(node.name) % rows == 0
            and 0 <= times.line_buffer(node.name) - times.live[node.name] < rows
        )
