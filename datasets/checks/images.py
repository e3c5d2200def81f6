"""Pictures: can be decoded, show something, and do not stand still while the robot moves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.frames import FrameRoll
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.datasets.format import layout

DARK = 0.02  # mean and deviation of a black frame, as a share of the full scale
FLAT = 0.003  # deviation of a frame of one colour
FROZEN_S = 0.5  # frames that repeat for less are a slow camera
MOVED = 0.1  # share of a signal's range in the episode by which it has to change meanwhile
REPEATS = 0.2  # share of repeated frames that is worth knowing


def camera_keys(survey: Survey) -> Iterator[tuple[str, str]]:
    """(feature, array) of every camera: the frames as they came, so that each is looked at once."""
    for name, feature in survey.features.items():
        if layout.is_encoded(feature):
            streams = survey.metadata.recorded == "streams"
            yield name, layout.stream_key(name, "value") if streams else layout.data_key(name)


class _Pictures(Check):
    """Goes through the cameras of an episode."""

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        for name, key in camera_keys(view.survey):
            roll = view.roll(key)
            if roll is not None and len(roll.files):
                yield from self.camera(view, name, key, roll)

    def camera(self, view: EpisodeView, name: str, key: str, roll: FrameRoll) -> Iterator[Finding]:
        raise NotImplementedError

    def finding(
        self, view: EpisodeView, name: str, roll: FrameRoll, row: int, message: str, severity: Severity
    ) -> Finding:
        return Finding(
            severity=severity, check=self.name, message=message, file=roll.files[row], episode=view.index,
            feature=name, step=row,
        )  # fmt: skip


class Decoding(_Pictures):
    name = "decode"

    def camera(self, view: EpisodeView, name: str, key: str, roll: FrameRoll) -> Iterator[Finding]:
        if roll.undecodable:
            row, reason = min(roll.undecodable.items())
            more = f" (and {len(roll.undecodable) - 1} more frames)" if len(roll.undecodable) > 1 else ""
            yield self.finding(view, name, roll, row, reason + more, "error")


class Black(_Pictures):
    name = "black"

    def camera(self, view: EpisodeView, name: str, key: str, roll: FrameRoll) -> Iterator[Finding]:
        dark = sorted(row for row, (mean, std) in roll.brightness.items() if mean < DARK and std < DARK)
        flat = sorted(row for row, (_, std) in roll.brightness.items() if std < FLAT and row not in dark)
        for rows, kind in ((dark, "black"), (flat, "of one colour")):
            if rows:
                count = f"{len(rows)} of the {len(roll.brightness)} frames looked at are {kind}"
                yield self.finding(view, name, roll, rows[0], count, "warning")


class Frozen(_Pictures):
    name = "frozen"

    def __init__(self) -> None:
        self._repeats: dict[str, list[int]] = {}

    def camera(self, view: EpisodeView, name: str, key: str, roll: FrameRoll) -> Iterator[Finding]:
        same = (roll.crc32[1:] == roll.crc32[:-1]) & (roll.sizes[1:] == roll.sizes[:-1]) & (roll.sizes[1:] >= 0)
        counted = self._repeats.setdefault(name, [0, 0])
        counted[0] += int(same.sum())
        counted[1] += len(same)
        streams = view.survey.metadata.recorded == "streams"
        times = view.rows(layout.stream_key(name, "timestamp") if streams else layout.TIMESTAMP)
        if times is None or len(times) != len(roll.files):
            return
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        worst, longest_s, moved_by = -1, FROZEN_S, ""
        for first, last in edges.reshape(-1, 2).tolist():  # frames first..last are one picture
            duration_s = float(times[last] - times[first])
            moving = _moves_most(view, float(times[first]), float(times[last])) if duration_s >= longest_s else None
            if moving:
                worst, longest_s, moved_by = first, duration_s, moving
        if worst >= 0:
            message = f"the picture stands still for {longest_s:.2f} s while {moved_by} moves"
            yield self.finding(view, name, roll, worst, message, "warning")

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for name, (repeats, total) in self._repeats.items():
            if total and repeats > REPEATS * total:
                share = f"{100 * repeats / total:.0f} %"
                message = f"{share} of the frames are the same as the one before: a camera slower than its rate?"
                yield Finding(severity="info", check=self.name, message=message, feature=name)


def _moves_most(view: EpisodeView, start_s: float, stop_s: float) -> str | None:
    """The observation that changes most between two times, if any changes by a visible share of its range."""
    times = view.rows(layout.TIMESTAMP)
    if times is None:
        return None
    first, last = np.searchsorted(times, [start_s - 1e-9, stop_s + 1e-9])
    best, best_share = None, MOVED
    for name, key in view.signals():
        rows = view.rows(key) if view.survey.features[name].kind == "state" else None
        if rows is None or rows.dtype.kind != "f" or last - first < 2 or not np.isfinite(rows).all():
            continue
        flat = rows.reshape(len(rows), -1)
        whole, part = np.ptp(flat, axis=0), np.ptp(flat[first:last], axis=0)
        share = float((part[whole > 1e-9] / whole[whole > 1e-9]).max(initial=0))
        if share > best_share:
            best, best_share = name, share
    return best
