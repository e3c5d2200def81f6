"""What a process can do to be on time: real-time priority where allowed, and no garbage collection in between."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def raised_priority(level: int = 20) -> Iterator[str]:
    """Give the calling thread the best scheduling it may have, undo it afterwards; yields its name in words.

    SCHED_FIFO at `level` (1 to 99) needs root or an rtprio limit; else a negative nice value is tried; else
    things stay as they are. Threads and processes started within the block inherit it. Every thread of a
    real-time Python process should: one without it that loses the processor while it holds the interpreter
    lock makes the others wait.
    """
    if hasattr(os, "sched_setscheduler"):
        policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
        except OSError:
            pass
        else:
            try:
                yield f"SCHED_FIFO {level}"
            finally:
                os.sched_setscheduler(0, policy, parameter)
            return
    if hasattr(os, "setpriority"):
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        except OSError:
            pass
        else:
            try:
                yield "nice -10"
            finally:
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
            return
    yield "default"


@contextlib.contextmanager
def no_interruptions() -> Iterator[None]:
    """No garbage collection and quick thread switches within the block, which is one episode, not a program."""
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    # by default a thread that computes keeps the interpreter for 5 ms, a whole period of a 200 Hz loop
    sys.setswitchinterval(2e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        if collecting:
            gc.enable()
