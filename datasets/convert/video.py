"""Frames of a video file by time, decoded one after the other with PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.datasets.convert.protocol import damaged

HALF_COLOUR = ("yuv420p", "yuvj420p", "nv12", "yuv420p10le")


def is_half_colour(entry: Mapping[str, Any]) -> bool:
    """Whether a video feature of LeRobot's `info.json` has half the colour resolution (4:2:0)."""
    details = entry.get("info") or entry.get("video_info") or {}
    return details.get("video.pix_fmt") in HALF_COLOUR


class Video:
    """One video file. Raises DatasetError when it is missing or damaged.

    Attributes:
        num_frames: frames in the file.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._open() as container:
            stream = container.streams.video[0]
            self._base_s = float(stream.time_base)
            # packets say the times of all frames without decoding any
            stamps = self._guarded(lambda: [p.pts for p in container.demux(stream) if p.pts is not None])
            self._pts = np.unique(np.array(stamps, np.int64))
        if not len(self._pts):
            raise damaged(path, "it holds no frame")

    @property
    def num_frames(self) -> int:
        return len(self._pts)

    def _open(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise MissingDependencyError(
                f"Reading {self.path.name} needs av ({error}). "
                "Install it with: pip install '.[convert]' -c constraints.txt"
            ) from error
        container = self._guarded(lambda: av.open(str(self.path)))
        if not container.streams.video:
            container.close()
            raise damaged(self.path, "it holds no video")
        container.streams.video[0].thread_type = "AUTO"
        return container

    def _guarded(self, call: Any) -> Any:
        import av

        try:
            return call()
        except (av.FFmpegError, ValueError) as error:  # type: ignore[attr-defined]
            raise damaged(self.path, getattr(error, "strerror", None) or error) from error

    def frames_at(self, times_s: np.ndarray, tolerance_s: float, by_number: bool = False) -> np.ndarray:
        """Frame number for each time: the nearest, at most `tolerance_s` away.

        Args:
            times_s: `(T,)`, rising.
            tolerance_s: half the time between two frames.
            by_number: there are as many frames as times: where times do not fit, frame k belongs to time k.

        Raises DatasetError when there is no frame at a time: the video is short or has a gap.
        """
        stamps = self._pts * self._base_s
        after = np.searchsorted(stamps, times_s).clip(1, max(1, len(stamps) - 1))
        after = np.minimum(after, len(stamps) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(times_s - stamps[before] <= stamps[after] - times_s, before, after)
        off = np.flatnonzero(np.abs(stamps[nearest] - times_s) > tolerance_s)
        if off.size and by_number:
            return np.arange(len(times_s))
        if off.size:
            k = int(off[0])
            raise DatasetError(
                f"{self.path} has no frame for step {k} at {times_s[k]:.3f} s (its {len(stamps)} frames are from "
                f"{stamps[0]:.3f} to {stamps[-1]:.3f} s)."
            )
        return nearest

    def decode(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(How often, image) for each distinct frame number of `numbers` (rising), in order.

        An image is `(H, W, 3)` uint8 RGB, or `(H, W)` uint16 for grey video of more than 8 bits.

        Raises DatasetError when a frame is damaged.
        """
        distinct, repeats = np.unique(numbers, return_counts=True)
        wanted = self._pts[distinct]
        with self._open() as container:
            stream = container.streams.video[0]
            if distinct[0]:
                self._guarded(lambda: container.seek(int(wanted[0]), stream=stream, backward=True))
            frames = container.decode(stream)
            place = 0
            while place < len(wanted):
                frame = self._guarded(lambda: next(frames, None))
                if frame is None or frame.is_corrupt or (frame.pts is not None and frame.pts > wanted[place]):
                    raise DatasetError(f"{self.path}: frame {distinct[place]} cannot be decoded; copy it again.")
                if frame.pts == wanted[place]:
                    yield int(repeats[place]), self._guarded(lambda frame=frame: _to_image(frame))
                    place += 1


def _to_image(frame: Any) -> np.ndarray:
    name = frame.format.name
    deep = name.startswith("gray") and frame.format.components[0].bits > 8
    return frame.to_ndarray() if deep else frame.to_ndarray(format="rgb24")
