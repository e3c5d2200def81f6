"""A record in shared memory with one writer and many readers: the newest sample of a device, without locks.

The writer bumps a counter to odd, writes, bumps it to even (a sequence lock); a reader copies and retries
when the counter was odd or has moved. Neither ever waits for the other, so a 1 kHz producer and a 100 Hz
control loop cannot block each other. The segment starts with a json header that names its fields, so the
reading side needs no code of the writing side.

x86-64 keeps stores in order, which this relies on; on other processors a torn read is possible in principle,
so the header also carries a checksum of each record.
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
_COUNTER = slice(0, 8)
_CHECKSUM = slice(8, 16)
_LAYOUT_LENGTH = slice(16, 24)
_LAYOUT_START = 24

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
    """

    def __init__(self, segment: SharedMemory, dtype: np.dtype, owner: bool):
        self._segment = segment
        # a fork of the owner holds a copy of this object but must not remove the segment
        self._owner_pid = os.getpid() if owner else None
        self._dtype = dtype
        buffer = _buffer(segment)
        self._counter = np.frombuffer(buffer, dtype=np.uint64, count=1, offset=_COUNTER.start)
        self._checksum = np.frombuffer(buffer, dtype=np.uint64, count=1, offset=_CHECKSUM.start)
        self._record = np.frombuffer(buffer, dtype=np.uint8, count=dtype.itemsize, offset=_HEADER_BYTES)

    @classmethod
    def create(cls, name: str, fields: Mapping[str, tuple[tuple[int, ...], str]]) -> SharedRecord:
        """Make a segment called `name`, replacing a stale one left by a killed process."""
        dtype = np.dtype([(field, kind, shape) for field, (shape, kind) in fields.items()])
        layout = json.dumps({field: [list(shape), kind] for field, (shape, kind) in fields.items()}).encode()
        if _LAYOUT_START + len(layout) > _HEADER_BYTES:
            raise DeviceError(f"Record {name!r} has too many fields: {len(layout)} bytes of layout.")
        size = _HEADER_BYTES + dtype.itemsize
        try:
            segment = SharedMemory(name=name, create=True, size=size)
        except FileExistsError:
            cls.remove(name)
            segment = SharedMemory(name=name, create=True, size=size)
        buffer = _buffer(segment)
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
        """How many records have been written."""
        return int(self._counter[0]) // 2

    def write(self, **values: object) -> None:
        """Publish a complete record. Raises DeviceError unless exactly the record's fields are given."""
        fields = self._dtype.names or ()
        if values.keys() != set(fields):
            raise DeviceError(f"A record was given the fields {sorted(values)}, expected {sorted(fields)}.")
        record = np.zeros((), dtype=self._dtype)
        for field in fields:
            record[field] = values[field]
        raw = record.tobytes()
        self._counter[0] += np.uint64(1)
        self._record[:] = np.frombuffer(raw, dtype=np.uint8)
        self._checksum[0] = zlib.crc32(raw)
        self._counter[0] += np.uint64(1)

    def read(self, timeout_s: float = 0.1) -> tuple[dict[str, np.ndarray], int] | None:
        """Return (fields, sequence) of the newest complete record, or None when nothing was written yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            before = int(self._counter[0])
            if before == 0:
                return None
            raw = self._record.tobytes()
            checksum = int(self._checksum[0])
            if before % 2 == 0 and before == int(self._counter[0]) and checksum == zlib.crc32(raw):
                record = np.frombuffer(raw, dtype=self._dtype)[0]
                return {field: np.array(record[field]) for field in self._dtype.names or ()}, before // 2
            if time.monotonic() > deadline:
                raise DeviceError("A shared record stayed half written: its writer died while writing.")

    def close(self) -> None:
        """Detach; the creator also removes the segment. Safe to call twice."""
        if self._segment is None:
            return
        # numpy views keep the buffer alive; drop them before closing
        del self._counter, self._checksum, self._record
        self._segment.close()
        if self._owner_pid == os.getpid():
            try:
                self._segment.unlink()
            except FileNotFoundError:
                pass
        self._segment = None  # type: ignore[assignment]

    def __del__(self) -> None:
        # in this order, else the views outlive the mapping and Python complains at exit
        if hasattr(self, "_record"):
            self.close()
