"""Records in shared memory with one writer and many readers: the newest samples of a device, without locks.

The segment is a ring. The writer marks a place as being written, writes, stores the record's number there, and only
then that number as the newest; a reader copies the newest record and looks again whether its place still holds it.
Neither ever waits for the other, whatever their priorities and however few the cores:

- The newest record is always whole. A writer that is preempted, stopped or killed half-way leaves the record before.
- A reader starts over only when the writer has meanwhile completed `_SPARE` records, never because it stands still.
- Whether the writer lives is asked of the kernel (`writer_alive`), not guessed from what it left.

The segment starts with a json header that names its fields, so the reading side needs no code of the writing side.
x86-64 keeps stores in order, which this relies on; on other processors a torn read is possible in principle,
so each record also carries a checksum.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np

from robolearn.core.errors import DeviceError
from robolearn.core.shared_segment import SharedSegment

_HEADER_BYTES = 4096
_NEWEST = slice(0, 8)
_HISTORY = slice(8, 16)
_LAYOUT_LENGTH = slice(16, 24)
_LAYOUT_START = 24
# before each record in its place: number (0 while it is being written) and checksum
_PLACE_HEADER = np.dtype([("number", "<u8"), ("crc", "<u8")])
# places beyond those promised: one that is being written, others so that a reader has time to copy
_SPARE = 3
_MOST_TRIES = 1000


class SharedRecord:
    """Named numeric fields in one shared-memory segment.

    Create with `SharedRecord.create(name, {"position": ((3,), "float64"), ...})` in the writing process and
    open with `SharedRecord.open(name)` anywhere else. The creator removes the segment on `close`, or when it ends;
    what a killed one leaves is removed by the next that is created. Records are numbered from 1.
    """

    def __init__(self, segment: SharedSegment, dtype: np.dtype):
        self._segment = segment
        self._dtype = dtype
        buffer = segment.buffer
        self._newest = np.frombuffer(buffer, np.uint64, count=1, offset=_NEWEST.start)
        self.history = int.from_bytes(buffer[_HISTORY], "little")
        self._count = self.history + _SPARE
        place = np.dtype([("header", _PLACE_HEADER), ("bytes", "u1", (dtype.itemsize,))])
        places = np.frombuffer(buffer, place, count=self._count, offset=_HEADER_BYTES)
        self._numbers, self._crcs, self._bytes = places["header"]["number"], places["header"]["crc"], places["bytes"]

    @classmethod
    def create(cls, name: str, fields: Mapping[str, tuple[tuple[int, ...], str]], history: int = 1) -> SharedRecord:
        """Make a segment called `name`, for readers that want up to `history` records back.

        Raises DeviceError when a running process has one of that name, or there is no memory for it.
        """
        if history < 1:
            raise DeviceError(f"Record {name!r} must keep at least 1 record, found a history of {history}.")
        dtype = np.dtype([(field, kind, shape) for field, (shape, kind) in fields.items()])
        layout = json.dumps({field: [list(shape), kind] for field, (shape, kind) in fields.items()}).encode()
        if _LAYOUT_START + len(layout) > _HEADER_BYTES:
            raise DeviceError(f"Record {name!r} has too many fields: {len(layout)} bytes of layout.")
        places = (history + _SPARE) * (_PLACE_HEADER.itemsize + dtype.itemsize)
        segment = SharedSegment.create(name, _HEADER_BYTES + places)
        segment.buffer[_HISTORY] = history.to_bytes(8, "little")
        segment.buffer[_LAYOUT_START : _LAYOUT_START + len(layout)] = layout
        # last, because it tells readers that the segment is ready
        segment.buffer[_LAYOUT_LENGTH] = len(layout).to_bytes(8, "little")
        return cls(segment, dtype)

    @classmethod
    def open(cls, name: str) -> SharedRecord:
        """Attach to an existing segment. Raises DeviceError when there is none, or not yet a complete one."""
        try:
            segment = SharedSegment.open(name)
        except OSError as error:
            raise DeviceError(f"No shared record {name!r}: the process that writes it is not running.") from error
        length = int.from_bytes(segment.buffer[_LAYOUT_LENGTH], "little")
        if length == 0:
            segment.close()
            raise DeviceError(f"Shared record {name!r} is not ready: its writer is still starting.")
        layout = json.loads(bytes(segment.buffer[_LAYOUT_START : _LAYOUT_START + length]))
        dtype = np.dtype([(field, kind, tuple(shape)) for field, (shape, kind) in layout.items()])
        return cls(segment, dtype)

    @property
    def writer_alive(self) -> bool:
        """Whether the process that writes the record still runs; what it wrote last can be read either way."""
        return self._segment.owner_alive

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
        place = number % self._count
        self._numbers[place] = 0
        self._bytes[place] = np.frombuffer(raw, dtype=np.uint8)
        self._crcs[place] = zlib.crc32(raw)
        self._numbers[place] = number
        self._newest[0] = number

    def read(self) -> tuple[dict[str, np.ndarray], int] | None:
        """Return (fields, number) of the newest record, or None when nothing was written yet.

        Raises DeviceError for a reader that its writer has overtaken each of a thousand times, and for damaged memory.
        """
        for _ in range(_MOST_TRIES):
            number = self.sequence
            if number == 0:
                return None
            if (fields := self._read(number)) is not None:
                return fields, number
        raise DeviceError(
            f"The shared record {self._segment.name!r} could not be read whole in {_MOST_TRIES} tries, up to number "
            f"{self.sequence}: it is written faster than it can be copied, or its memory is damaged."
        )

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
        place = number % self._count
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
        if not hasattr(self, "_bytes"):
            return
        # numpy views keep the buffer alive; drop them before closing
        del self._newest, self._numbers, self._crcs, self._bytes
        self._segment.close()

    def __del__(self) -> None:
        self.close()
