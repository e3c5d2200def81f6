"""Records in shared memory with one writer and many readers: the newest samples of a device, without locks.

The segment is a ring of the last `history` records. The writer marks a place as being written, writes, stores the
record's number there, and then in the header as that of the newest; a reader copies a place and tries again when its
number was another before or after. Neither ever waits for the other, so a 1 kHz producer and a 100 Hz control loop
cannot block each other, and a reader that was held up for a while still gets what came meanwhile. The segment starts
with a json header that names its fields, so the reading side needs no code of the writing side.

x86-64 keeps stores in order, which this relies on; on other processors a torn read is possible in principle,
so each record also carries a checksum.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Mapping
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from robolearn.core.errors import DeviceError

_HEADER_BYTES = 4096
_NEWEST = slice(0, 8)
_HISTORY = slice(8, 16)
_LAYOUT_LENGTH = slice(16, 24)
_LAYOUT_START = 24
# before each record in its place: number (0 while it is being written) and checksum
_PLACE_HEADER = np.dtype([("number", "<u8"), ("crc", "<u8")])

_attach_lock = threading.Lock()


def _attach(name: str) -> SharedMemory:
    """Map a segment that another owner removes.

    Python < 3.13 registers every attached segment with its resource tracker, which would then remove it when
    this process ends, and lose count when creator and reader share one tracker. So registering is skipped, for
    this segment only, while it is attached.
    """
    if sys.version_info >= (3, 13):
        return SharedMemory(name=name, track=False)
    segment_name = "/" + name.lstrip("/")
    with _attach_lock:
        register = resource_tracker.register

        def register_others(name: Any, rtype: str) -> None:
            if name != segment_name:
                register(name, rtype)

        resource_tracker.register = register_others
        try:
            return SharedMemory(name=name)
        finally:
            resource_tracker.register = register


def _buffer(segment: SharedMemory) -> memoryview:
    buffer = segment.buf
    if buffer is None:
        raise DeviceError("A shared record was used after it had been closed.")
    return buffer


class SharedRecord:
    """Named numeric fields in one shared-memory segment.

    Create with `SharedRecord.create(name, {"position": ((3,), "float64"), ...})` in the writing process and
    open with `SharedRecord.open(name)` anywhere else. The creator removes the segment on `close`, or when it ends.
    Records are numbered from 1.
    """

    def __init__(self, segment: SharedMemory, dtype: np.dtype, owner: bool):
        self._segment = segment
        # a fork of the owner holds a copy of this object but must not remove the segment
        self._owner_pid = os.getpid() if owner else None
        self._dtype = dtype
        buffer = _buffer(segment)
        self._newest = np.frombuffer(buffer, np.uint64, count=1, offset=_NEWEST.start)
        self.history = int.from_bytes(buffer[_HISTORY], "little")
        place = np.dtype([("header", _PLACE_HEADER), ("bytes", "u1", (dtype.itemsize,))])
        places = np.frombuffer(buffer, place, count=self.history, offset=_HEADER_BYTES)
        self._numbers, self._crcs, self._bytes = places["header"]["number"], places["header"]["crc"], places["bytes"]

    @classmethod
    def create(cls, name: str, fields: Mapping[str, tuple[tuple[int, ...], str]], history: int = 1) -> SharedRecord:
        """Make a segment called `name`, replacing a stale one left by a killed process."""
        if history < 1:
            raise DeviceError(f"Record {name!r} must keep at least 1 record, found a history of {history}.")
        dtype = np.dtype([(field, kind, shape) for field, (shape, kind) in fields.items()])
        layout = json.dumps({field: [list(shape), kind] for field, (shape, kind) in fields.items()}).encode()
        if _LAYOUT_START + len(layout) > _HEADER_BYTES:
            raise DeviceError(f"Record {name!r} has too many fields: {len(layout)} bytes of layout.")
        size = _HEADER_BYTES + history * (_PLACE_HEADER.itemsize + dtype.itemsize)
        try:
            segment = SharedMemory(name=name, create=True, size=size)
        except FileExistsError:
            cls.remove(name)
            segment = SharedMemory(name=name, create=True, size=size)
        buffer = _buffer(segment)
        buffer[_HISTORY] = history.to_bytes(8, "little")
        buffer[_LAYOUT_START : _LAYOUT_START + len(layout)] = layout
        # last, because it tells readers that the segment is ready
        buffer[_LAYOUT_LENGTH] = len(layout).to_bytes(8, "little")
        return cls(segment, dtype, owner=True)

    @classmethod
    def open(cls, name: str) -> SharedRecord:
        """Attach to an existing segment. Raises DeviceError when there is none, or not yet a complete one."""
        try:
            segment = _attach(name)
        except (FileNotFoundError, ValueError) as error:  # ValueError: created, but still empty
            raise DeviceError(f"No shared record {name!r}: the process that writes it is not running.") from error
        buffer = _buffer(segment)
        length = int.from_bytes(buffer[_LAYOUT_LENGTH], "little")
        if length == 0:
            del buffer
            segment.close()
            raise DeviceError(f"Shared record {name!r} is not ready: its writer is still starting.")
        layout = json.loads(bytes(buffer[_LAYOUT_START : _LAYOUT_START + length]))
        dtype = np.dtype([(field, kind, tuple(shape)) for field, (shape, kind) in layout.items()])
        return cls(segment, dtype, owner=False)

    @staticmethod
    def remove(name: str) -> None:
        """Remove the segment that a killed process left. No error when there is none."""
        try:
            segment = SharedMemory(name=name)
        except (FileNotFoundError, ValueError):  # ValueError: created, but still empty
            return
        try:
            segment.unlink()
        except FileNotFoundError:  # the resource tracker of the killed process was faster
            resource_tracker.unregister("/" + name.lstrip("/"), "shared_memory")
        segment.close()

    @property
    def sequence(self) -> int:
        """Number of the newest record, which is how many have been written."""
        return int(self._newest[0])

    def write(self, **values: object) -> None:
        """Publish a complete record. Raises DeviceError unless exactly the record's fields are given."""
        fields = self._dtype.names or ()
        if values.keys() != set(fields):
            raise DeviceError(f"A record was given the fields {sorted(values)}, expected {sorted(fields)}.")
        record = np.zeros((), dtype=self._dtype)
        for field in fields:
            record[field] = values[field]
        raw = record.tobytes()
        number = self.sequence + 1
        place = number % self.history
        self._numbers[place] = 0
        self._bytes[place] = np.frombuffer(raw, dtype=np.uint8)
        self._crcs[place] = zlib.crc32(raw)
        self._numbers[place] = number
        self._newest[0] = number

    def read(self, timeout_s: float = 0.1) -> tuple[dict[str, np.ndarray], int] | None:
        """Return (fields, number) of the newest complete record, or None when nothing was written yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            number = self.sequence
            if number == 0:
                return None
            if (fields := self._read(number)) is not None:
                return fields, number
            if time.monotonic() > deadline:
                raise DeviceError("A shared record stayed half written: its writer died while writing.")

    def read_after(self, number: int) -> list[tuple[dict[str, np.ndarray], int]]:
        """(fields, number) of the records after `number` that are still there, oldest first."""
        newest = self.sequence
        found = []
        for wanted in range(max(number, newest - self.history) + 1, newest + 1):
            if (fields := self._read(wanted)) is not None:  # None: overwritten since we looked
                found.append((fields, wanted))
        return found

    def _read(self, number: int) -> dict[str, np.ndarray] | None:
        """Record `number`, or None when its place holds another, or no whole one."""
        place = number % self.history
        if int(self._numbers[place]) != number:
            return None
        raw = self._bytes[place].tobytes()
        crc = int(self._crcs[place])
        if int(self._numbers[place]) != number or crc != zlib.crc32(raw):
            return None
        record = np.frombuffer(raw, dtype=self._dtype)[0]
        return {field: np.array(record[field]) for field in self._dtype.names or ()}

    def close(self) -> None:
        """Detach; the creator also removes the segment. Safe to call twice."""
        if self._segment is None:
            return
        # numpy views keep the buffer alive; drop them before closing
        del self._newest, self._numbers, self._crcs, self._bytes
        self._segment.close()
        if self._owner_pid == os.getpid():
            try:
                self._segment.unlink()
            except FileNotFoundError:
                pass
        self._segment = None  # type: ignore[assignment]

    def __del__(self) -> None:
        # in this order, else the views outlive the mapping and Python complains at exit
        if hasattr(self, "_bytes"):
            self.close()
