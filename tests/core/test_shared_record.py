import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from robolearn.core.errors import DeviceError
from robolearn.core.shared_record import SharedRecord

FIELDS = {"position": ((3,), "float64"), "mode": ((), "int64")}


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


def test_a_segment_left_by_a_killed_process_is_replaced(name):
    # os._exit in a process whose resource tracker is gone too, as after kill -9 of a process group
    run(
        """
        import os, signal, sys
        from multiprocessing import resource_tracker
        from robolearn.core.shared_record import SharedRecord
        record = SharedRecord.create(sys.argv[1], {"old": ((), "int32")})
        os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
        os._exit(1)
        """,
        name,
    )
    stale = SharedRecord.open(name)
    stale.close()
    writer = SharedRecord.create(name, FIELDS)
    reader = SharedRecord.open(name)
    writer.write(position=[1, 2, 3], mode=1)
    assert set(reader.read()[0]) == {"position", "mode"}
    reader.close()
    writer.close()


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
        found = reader.read(timeout_s=5.0)
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
