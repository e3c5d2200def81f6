"""Other programs on the processor are told from this one, by readings of the kernel's counters."""

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.busy import WINDOW_S, BusyWatch, CpuReading, busy_line, read_cpu

START = CpuReading(at_s=100.0, cores=4, used_s=5000.0, stolen_s=10.0, own_s=3.0)


def later(elapsed_s: float = 2.0, used: float = 0.0, stolen: float = 0.0, own: float = 0.0) -> CpuReading:
    """`used`, `stolen` and `own` in cores."""
    added = {"at_s": 1.0, "used_s": used, "stolen_s": stolen, "own_s": own}
    return dataclasses.replace(START, **{name: getattr(START, name) + rate * elapsed_s for name, rate in added.items()})


def test_what_others_use_is_said_in_one_line():
    line = busy_line(START, later(used=3.5, own=1.0), "training takes longer")
    assert line == "this machine is busy: 2.5 of 4 cores are used by other programs; training takes longer."


def test_what_the_process_itself_uses_is_no_reason():
    assert busy_line(START, later(used=4.0, own=4.0), "") is None
    assert busy_line(START, later(used=4.0, own=2.9), "") is None
    assert busy_line(START, later(used=4.0, own=2.7), "") is not None


def test_a_host_that_gives_the_cores_to_others_is_told_apart():
    assert "2.0 of 4 cores are used by other programs (1.5 of it by other virtual machines)" in busy_line(
        START, later(used=2.0, stolen=1.5), ""
    )


@given(st.floats(0.01, 100), st.floats(0, 4), st.floats(0, 4))
def test_never_more_is_used_than_there_is(elapsed_s, used, own):
    line = busy_line(START, later(elapsed_s, used=used + own, own=own), "x")
    assert (line is not None) == (used >= 1.2) or abs(used - 1.2) < 1e-6
    assert line is None or float(line.split()[4]) <= 4


def test_readings_without_time_between_them_say_nothing():
    assert busy_line(START, START, "") is None


def test_counters_of_the_usable_cores_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    stat = tmp_path / "stat"
    cores = [f"cpu{core} {100 + core} 20 3 999 888 4 5 {core} 7 7" for core in range(3)]
    stat.write_text("\n".join(["cpu 1 2 3 4 5 6 7 8 9 10", *cores, "intr 5", "procs_running 3"]))
    found = read_cpu(stat, ticks_per_s=100)
    assert (found.cores, found.stolen_s) == (2, pytest.approx(0.02))
    assert found.used_s == pytest.approx((100 + 32 + 0 + 102 + 32 + 2) / 100)


def test_where_there_are_no_counters_nothing_is_said(tmp_path):
    assert read_cpu(tmp_path / "nothing") is None
    (tmp_path / "odd").write_text("cpu0 a b\n")
    assert read_cpu(tmp_path / "odd") is None
    assert BusyWatch(lambda: None).line("x") is None


@pytest.mark.parametrize(
    ("loading_s", "waits"), [(3.0, []), (0.05, [pytest.approx(WINDOW_S - 0.05)]), (0.0, [WINDOW_S])]
)
def test_a_start_waits_only_for_what_loading_has_not_filled(loading_s, waits):
    clock, waited = [0.0], []

    def read() -> CpuReading:
        return later(clock[0], used=3.0)

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    watch = BusyWatch(read, sleep)
    clock[0] += loading_s
    assert "3.0 of 4 cores" in watch.line("x")
    assert waited == waits


def test_this_machine_can_be_read():
    found = read_cpu()
    assert found is None or (found.cores == len(os.sched_getaffinity(0)) and found.used_s > 0)
