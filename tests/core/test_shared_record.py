import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robolearn.core.errors import DeviceError
from robolearn.core.shared_record import SharedRecord

FIELDS = {"position": ((3,), "float64"), "mode": ((), "int64")}
WRITES_ONE = """
import sys, time
from robolearn.core.shared_record import SharedRecord
record = SharedRecord.create(sys.argv[1], {"x": ((), "float64")})
record.write(x=1.5)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def name(request):
    return f"robolearn_test_{os.getpid()}_{abs(hash(request.node.name)) % 10**8}"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_newest_record_is_read_with_its_number(name):
    writer = SharedRecord.create(name, FIELDS)
    reader = SharedRecord.open(name)
    assert reader.read() is None
    for i in range(1, 4):
        writer.write(position=[i, 2 * i, 3 * i], mode=i)
    values, sequence = reader.read()
    assert sequence == reader.sequence == 3
    np.testing.assert_array_equal(values["position"], [3, 6, 9])
    assert values["mode"] == 3
    reader.close()
    writer.close()


def test_what_came_since_the_last_look_is_read_as_far_as_it_is_kept(name):
    writer = SharedRecord.create(name, FIELDS, history=4)
    reader = SharedRecord.open(name)
    assert reader.read_after(0) == []
    for i in range(1, 4):
        writer.write(position=[i, i, i], mode=i)
    assert [(int(values["mode"]), number) for values, number in reader.read_after(1)] == [(2, 2), (3, 3)]
    for i in range(4, 11):
        writer.write(position=[i, i, i], mode=i)
    assert [number for _, number in reader.read_after(3)] == [7, 8, 9, 10]
    assert reader.read_after(10) == []
    assert reader.read()[1] == 10
    reader.close()
    writer.close()


def test_a_record_without_a_place_is_refused(name):
    with pytest.raises(DeviceError, match="at least 1 record, found a history of 0"):
        SharedRecord.create(name, FIELDS, history=0)


def test_a_record_nobody_writes_is_named(name):
    with pytest.raises(DeviceError, match=f"No shared record '{name}'"):
        SharedRecord.open(name)


@pytest.mark.parametrize("values", [{"position": [1, 2, 3]}, {"position": [1, 2, 3], "mode": 1, "speed": 2}])
def test_missing_and_unknown_fields_are_refused(name, values):
    writer = SharedRecord.create(name, FIELDS)
    with pytest.raises(DeviceError, match=r"expected \['mode', 'position'\]"):
        writer.write(**values)
    assert writer.read() is None
    writer.close()


def test_closing_removes_the_segment_and_can_be_repeated(name):
    writer = SharedRecord.create(name, FIELDS)
    writer.close()
    writer.close()
    with pytest.raises(DeviceError):
        SharedRecord.open(name)


def test_a_reader_that_closes_leaves_the_record_to_others(name):
    writer = SharedRecord.create(name, FIELDS)
    writer.write(position=[1, 2, 3], mode=7)
    SharedRecord.open(name).close()
    again = SharedRecord.open(name)
    assert again.read()[0]["mode"] == 7
    again.close()
    writer.close()


@pytest.mark.parametrize("ending", ["reader.close(); writer.close()", "writer.close(); reader.close()", "pass"])
def test_creator_and_reader_in_one_process_end_without_a_sound(name, ending):
    result = run(
        f"""
        import sys
        from robolearn.core.shared_record import SharedRecord
        writer = SharedRecord.create(sys.argv[1], {{"x": ((), "float64")}})
        reader = SharedRecord.open(sys.argv[1])
        writer.write(x=1.5)
        print(float(reader.read()[0]["x"]))
        {ending}
        """,
        name,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "1.5\n", "")
    with pytest.raises(DeviceError):
        SharedRecord.open(name)


def test_a_reading_process_that_ends_does_not_take_the_segment_with_it(name):
    writer = SharedRecord.create(name, FIELDS)
    writer.write(position=[1, 2, 3], mode=4)
    result = run(
        """
        import sys
        from robolearn.core.shared_record import SharedRecord
        print(int(SharedRecord.open(sys.argv[1]).read()[0]["mode"]))
        """,
        name,
    )
    assert (result.stdout, result.stderr) == ("4\n", "")
    reader = SharedRecord.open(name)
    reader.close()
    writer.close()


def at_each_line(function, act: Callable[[], None], call: Callable[[], Any]) -> Any:
    """What `call()` returns, with `act()` done before each line of `function` that runs meanwhile."""

    def trace(frame, event, _):
        if frame.f_code is not function.__code__:
            return None
        if event == "line":
            sys.settrace(None)
            act()
            sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("history", [1, 4])
def test_a_reader_finds_the_last_whole_record_wherever_the_writer_has_been_interrupted(name, history):
    writer = SharedRecord.create(name, FIELDS, history)
    reader = SharedRecord.open(name)
    seen = []

    def look():
        values, number = reader.read()
        assert (values["position"] == number).all()
        assert values["mode"] == number
        kept = reader.read_after(0)
        assert [n for _, n in kept][-1] >= number
        assert len(kept) >= min(number, history)
        seen.append(number)

    writer.write(position=[1, 1, 1], mode=1)
    for i in range(2, 12):
        at_each_line(SharedRecord.write, look, lambda i=i: writer.write(position=[i, i, i], mode=i))
    assert len(seen) > 80
    assert seen == sorted(seen)
    reader.close()
    writer.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_a_reader_that_is_interrupted_at_any_line_never_gets_a_mixture(name, bursts):
    """Between two lines of the reader the writer completes as many records as it likes."""
    writer = SharedRecord.create(name, FIELDS)
    reader = SharedRecord.open(name)
    left = list(bursts)

    def write():
        for _ in range(left.pop() if left else 0):
            i = writer.sequence + 1
            writer.write(position=[i, i, i], mode=i)

    writer.write(position=[1, 1, 1], mode=1)
    values, number = at_each_line(SharedRecord._read, write, reader.read)
    assert (values["position"] == number).all()
    assert values["mode"] == number
    reader.close()
    writer.close()


def test_a_reader_that_is_overtaken_for_ever_says_so(name):
    writer = SharedRecord.create(name, FIELDS)
    reader = SharedRecord.open(name)

    def write():
        for _ in range(4):
            writer.write(position=[0, 0, 0], mode=0)

    write()
    with pytest.raises(DeviceError, match=f"{name}' could not be read whole in 1000 tries.*written faster"):
        at_each_line(SharedRecord._read, write, reader.read)
    reader.close()
    writer.close()


def test_a_writer_killed_half_way_leaves_the_last_whole_record_and_is_known_to_be_dead(name):
    """Killed before each line of `write`, the third time it runs."""
    result = run(
        """
        import os, signal, sys
        from robolearn.core.shared_record import SharedRecord
        from robolearn.core.shared_segment import SharedSegment, remove_left_over

        def write_until_killed(record, line):
            os.write(ready[1], b"x")
            os.read(opened[0], 1)
            def trace(frame, event, _):
                nonlocal line
                if frame.f_code is SharedRecord.write.__code__:
                    line -= event == "line"
                    if line < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return trace
            for i in (1.0, 2.0):
                record.write(a=i, b=i)
            sys.settrace(trace)
            record.write(a=3.0, b=3.0)
            sys.settrace(None)
            os._exit(7)

        for line in range(100):
            name = f"{sys.argv[1]}_{line}"
            ready, opened = os.pipe(), os.pipe()
            child = os.fork()
            if child == 0:
                write_until_killed(SharedRecord.create(name, {"a": ((), "f8"), "b": ((), "f8")}), line)
            os.read(ready[0], 1)
            record = SharedRecord.open(name)
            assert record.writer_alive
            os.write(opened[1], b"x")
            _, status = os.waitpid(child, 0)
            assert not record.writer_alive
            values, number = record.read()
            assert values["a"] == values["b"] == number
            if os.waitstatus_to_exitcode(status) == 7:
                break
            assert number in (2, 3)
            record.close()
        assert line > 10 and number == 3
        record.close()
        remove_left_over()
        assert not SharedSegment.exists(name)
        print("whole")
        """,
        name,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "whole\n", "")


def test_a_writer_that_stands_still_is_alive_and_one_that_was_killed_is_not(name):
    process = subprocess.Popen([sys.executable, "-c", WRITES_ONE, name], stdout=subprocess.PIPE)
    process.stdout.readline()
    reader = SharedRecord.open(name)
    assert reader.writer_alive
    process.send_signal(signal.SIGSTOP)
    assert reader.writer_alive
    process.kill()
    process.communicate()
    assert not reader.writer_alive
    assert reader.read()[0]["x"] == 1.5
    reader.close()


@pytest.mark.realtime
def test_no_read_is_ever_torn_while_another_process_writes(name):
    """Every element of a written record is the same number, so a mixture of two records would show."""
    program = """
        import sys, time
        import numpy as np
        from robolearn.core.shared_record import SharedRecord
        writer = SharedRecord.create(sys.argv[1], {"values": ((512,), "float64")})
        end = time.monotonic() + 1.5
        i = 0
        while time.monotonic() < end:
            i += 1
            writer.write(values=np.full(512, float(i)))
        print(i, flush=True)
        sys.stdin.read()
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            reader = SharedRecord.open(name)
            break
        except DeviceError:
            assert time.monotonic() < deadline, "the writing process did not start"
    reads, seen = 0, set()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        found = reader.read()
        if found is None:
            continue
        values, sequence = found
        assert (values["values"] == values["values"][0]).all()
        assert values["values"][0] == sequence
        reads += 1
        seen.add(sequence)
    assert reads > 100
    assert len(seen) > 10
    written = int(writer.stdout.readline())
    assert reader.sequence == written
    reader.close()
    writer.communicate("")
    assert writer.returncode == 0
