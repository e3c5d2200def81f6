"""What is found of the machine."""

import os
import sys
from pathlib import Path

import pytest

from robolearn.core import shared_segment
from robolearn.core.health import machine_checks


def by_name(found):
    return {check.name: check for check in found}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's scheduler")
def test_asking_for_real_time_priority_leaves_the_priority_as_it_was():
    before = os.sched_getscheduler(0)
    assert by_name(machine_checks())["real-time priority"].status in ("ok", "info")
    assert os.sched_getscheduler(0) == before


def test_shared_memory_that_cannot_be_had_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(shared_segment, "_MEMORY", Path("/proc/sys"))  # a folder in which nothing can be made
    found = by_name(machine_checks())["shared memory"]
    assert (found.status, found.advice) == ("bad", "mount a tmpfs at /dev/shm, of 256 MiB or more")
    assert "could not be had: " in found.found and "(/proc/sys)" in found.found
