"""How long a run took, from the starts and durations of its stages."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.manifest import elapsed

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)

spans = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=12)


@given(spans)
def test_elapsed_counts_each_second_at_work_once(found):
    seconds = {at for began, took in found for at in range(began, began + took)}
    told = [((MIDNIGHT + timedelta(seconds=at)).isoformat(), float(took)) for at, took in found]
    assert elapsed(told) == len(seconds)


def test_starts_in_other_time_zones_are_the_same_moments():
    here, there = "2026-01-31T10:00:00+00:00", "2026-01-31T12:00:00+02:00"
    assert elapsed([(here, 60.0), (there, 60.0)]) == 60.0


def test_without_a_start_nothing_counts_as_side_by_side():
    assert elapsed([("2026-01-31T10:00:00+00:00", 60.0), ("", 60.0)]) == 120.0
    assert elapsed([]) == 0.0
