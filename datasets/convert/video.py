"""Frames of a video file by time, decoded one after the other with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import DatasetError, MissingDependencyError
from robolearn.core.pins import install_line
from robolearn.datasets.convert.protocol import damaged
from robolearn.datasets.format.image_header import require_size

HALF_COLOUR = ("yuv420p", "yuvj420p", "nv12", "yuv420p10le")


def is_half_colour(entry: Mapping[str, Any]) -> bool:
    """Whether a video feature of LeRobot's `info.json` has half the colour resolution (4:2:0)."""
    details = entry.get("info") or entry.get("video_info") or {}
    return details.get("video.pix_fmt") in HALF_COLOUR


def open_video(path: Path) -> Any:
    """The opened PyAV container. Raises DatasetError when it is damaged, MissingDependencyError without PyAV."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {path.name} needs av ({error}). Install it with: {install_line('convert')}"
        ) from error
    container = _guarded(path, lambda: av.open(str(path)))
    if not container.streams.video:
        container.close()
        raise damaged(path, "it holds no video")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise damaged(path, "its codec is not known")
    container.streams.video[0].thread_type = "AUTO"
    return container


def _guarded(path: Path, call: Callable[[], Any]) -> Any:
    import av

    try:
        return call()
    except (av.FFmpegError, ValueError) as error:  # type: ignore[attr-defined]
        raise damaged(path, getattr(error, "strerror", None) or error) from error


@dataclass(frozen=True)
class VideoKind:
    """What the header of a video file says of its pictures.

    Attributes:
        grey: whether they have one channel.
        bits: of a sample.
    """

    height: int
    width: int
    grey: bool
    bits: int

    @classmethod
    def read(cls, path: Path) -> VideoKind:
        """Raises DatasetError when the file is missing, damaged, or its pictures are too large."""
        with open_video(path) as container:
            stream = container.streams.video[0]
            pixels = stream.format
            if pixels is None:
                raise damaged(path, "its pixel format is not known")
            require_size(stream.height, stream.width)
            return cls(stream.height, stream.width, pixels.name.startswith("gray"), pixels.components[0].bits)


class Video:
    """One video file. Raises DatasetError when it is missing or damaged.

    Attributes:
        num_frames: frames in the file.
    """

    def __init__(self, path: Path):
        self.path = path
        with open_video(self.path) as container:
            stream = container.streams.video[0]
            require_size(stream.height, stream.width)
            self._base_s = float(stream.time_base or 0)
            # packets say the times of all frames without decoding any
            stamps = _guarded(self.path, lambda: [p.pts for p in container.demux(stream) if p.pts is not None])
            self._pts = np.unique(np.array(stamps, np.int64))
        if not len(self._pts):
            raise damaged(path, "it holds no frame")

    @property
    def num_frames(self) -> int:
        return len(self._pts)

    def frames_of(self, times_s: np.ndarray, start_s: float, stop_s: float | None, fps: float) -> np.ndarray:
        """Number of the frame of each step, for all steps or, where the last ones have no frame, for those before.

        The frames of an episode are those from `start_s` until `stop_s`. A step gets the one nearest to its time since
        the first step; where times and frames do not go together but are as many, frame k belongs to step k.

        Args:
            times_s: `(T,)`, rising; from where on they count does not matter.
            start_s, stop_s: bounds of the episode in the file; None for its end.
            fps: nominal rate; a frame is at most half a period from its step.

        Raises DatasetError when a step in between has no frame, and when it cannot be told which frames are meant.
        """
        half = 0.5 / fps
        stamps = self._pts * self._base_s
        first = int(np.searchsorted(stamps, start_s - half))
        last = len(stamps) if stop_s is None else int(np.searchsorted(stamps, stop_s - half))
        own, since = stamps[first:last], times_s - times_s[0]
        if not len(own):
            raise DatasetError(f"{self.path} has no frame from {start_s:.8g} s on ({self._extent(stamps)}).")
        late = times_s[0] > half and start_s + times_s[-1] <= own[-1] + half
        if len(own) > len(times_s) and late:
            raise DatasetError(
                f"{self.path} has {len(own)} frames for {len(times_s)} steps, and timestamp begins at {times_s[0]:g} "
                "s: which frame belongs to which step cannot be told."
            )
        nearest = _nearest(own, start_s + since)
        off = np.flatnonzero(np.abs(own[nearest] - (start_s + since)) > half)
        if not off.size:
            return first + nearest
        k = int(off[0])
        if len(own) == len(times_s):
            return first + np.arange(len(own))
        if len(own) == k and start_s + since[k] > own[-1]:
            return first + nearest[:k]
        raise DatasetError(
            f"{self.path} has no frame for step {k} at {start_s + since[k]:.3f} s ({self._extent(own)})."
        )

    def _extent(self, stamps: np.ndarray) -> str:
        return f"its {len(stamps)} frames are from {stamps[0]:.3f} to {stamps[-1]:.3f} s"

    def decode(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(How often, image) for each distinct frame number of `numbers` (rising), in order.

        An image is `(H, W, 3)` uint8 RGB, or `(H, W)` uint16 for grey video of more than 8 bits.

        Raises DatasetError when a frame is damaged.
        """
        distinct, repeats = np.unique(numbers, return_counts=True)
        wanted = self._pts[distinct]
        with open_video(self.path) as container:
            stream = container.streams.video[0]
            if distinct[0]:
                _guarded(self.path, lambda: container.seek(int(wanted[0]), stream=stream, backward=True))
            frames = container.decode(stream)
            place = 0
            while place < len(wanted):
                frame = _guarded(self.path, lambda: next(frames, None))
                if frame is None or frame.is_corrupt or (frame.pts is not None and frame.pts > wanted[place]):
                    raise DatasetError(f"{self.path}: frame {distinct[place]} cannot be decoded.")
                if frame.pts == wanted[place]:
                    yield int(repeats[place]), _guarded(self.path, partial(_to_image, frame))
                    place += 1


def _nearest(stamps: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """`(T,)` place of the nearest of the rising `stamps` for each time."""
    after = np.searchsorted(stamps, times_s).clip(0, len(stamps) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times_s - stamps[before] <= stamps[after] - times_s, before, after)


def _to_image(frame: Any) -> np.ndarray:
    name = frame.format.name
    deep = name.startswith("gray") and frame.format.components[0].bits > 8
    return frame.to_ndarray() if deep else frame.to_ndarray(format="rgb24")
