import gc
import os
import sys
import threading

import pytest

from robolearn.core.realtime import no_interruptions, raised_priority

pytestmark = pytest.mark.realtime  # raises the priority of the process that runs the tests


def scheduling() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)


def test_priority_is_given_back():
    before = scheduling()
    with raised_priority() as got:
        assert got in ("SCHED_FIFO 20", "nice -10", "default")
        assert (scheduling() != before) == (got != "default")
    assert scheduling() == before


def test_threads_started_within_the_block_inherit_it():
    seen = []
    with raised_priority():
        mine = os.sched_getscheduler(0)
        thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
    assert seen == [mine]


@pytest.mark.parametrize("allowed", ["nothing", "nice"])
def test_without_the_right_to_it_the_next_best_is_taken(monkeypatch, allowed):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse if allowed == "nothing" else lambda *_: None)
    with raised_priority() as got:
        assert got == {"nothing": "default", "nice": "nice -10"}[allowed]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_within_the_block_only(enabled):
    interval, was = sys.getswitchinterval(), gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with no_interruptions():
            assert not gc.isenabled()
            assert sys.getswitchinterval() < interval
        assert gc.isenabled() == enabled
        assert sys.getswitchinterval() == interval
    finally:
        (gc.enable if was else gc.disable)()
