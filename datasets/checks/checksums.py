"""Every row and frame against the checksums taken when it was recorded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import FILES_CHECK, EpisodeView
from robolearn.datasets.format import layout


def crc_key_of(key: str) -> str:
    """The array that holds the crc32 of each frame of an encoded array."""
    name = key.split("/")[1]
    return layout.crc_key(name) if key.startswith("data/") else layout.stream_key(name, "crc32")


class Checksums(Check):
    name = "checksum"

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        stored = view.record.get("checksums")
        expected: dict[str, int] = stored if isinstance(stored, dict) else {}
        wrong = set()
        for key, info in view.survey.metadata.arrays.items():
            if info.compressor or key not in expected:
                continue
            rows = view.rows(key)
            if rows is not None and zlib.crc32(np.ascontiguousarray(rows).data) != expected[key]:
                wrong.add(key)
                message = "the bytes are not those that were recorded"
                yield self._finding(view, key, message, self._files(view, key))
        for key in view.survey.codecs:
            yield from self._frames(view, key, crc_key_of(key) not in wrong)

    def _frames(self, view: EpisodeView, key: str, proven: bool) -> Iterator[Finding]:
        roll = view.roll(key)
        if roll is None:
            return
        if roll.unreadable:
            row, reason = next(iter(roll.unreadable.items()))
            more = f" (and {len(roll.unreadable) - 1} more frames of it)" if len(roll.unreadable) > 1 else ""
            yield self._finding(view, key, reason + more, roll.files[row], FILES_CHECK, row)
        crcs = view.rows(crc_key_of(key))
        if crcs is None or not proven:
            return  # said already; the frames cannot be judged
        differs = np.flatnonzero((roll.crc32 != crcs) & (roll.sizes >= 0))
        if len(differs):
            row = int(differs[0])
            more = f" (and {len(differs) - 1} more frames of it)" if len(differs) > 1 else ""
            yield self._finding(
                view, key, f"the frame is not the one that was recorded{more}", roll.files[row], step=row
            )

    def _files(self, view: EpisodeView, key: str) -> str:
        info, span = view.survey.metadata.arrays[key], view.survey.span(key, view.index)
        if span is None or span.stop <= span.start:
            return key
        first, last = span.start // info.chunk_rows, (span.stop - 1) // info.chunk_rows
        upto = f" to {info.chunk_name(last)}" if last > first else ""
        return f"{key}/{info.chunk_name(first)}{upto}"

    def _finding(
        self, view: EpisodeView, key: str, message: str, file: str, check: str = name, step: int | None = None
    ) -> Finding:
        return Finding(
            severity="error", check=check, message=message, file=file, episode=view.index,
            feature=view.survey.feature_of(key), step=step,
        )  # fmt: skip
