"""H.264 videos that every browser plays, and episodes filmed with a banner that says how they went."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from robolearn.core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from robolearn.sim.env import SimEnv

_NEUTRAL, _GREEN, _RED = (52, 58, 70), (22, 128, 61), (185, 38, 38)
_WHITE = (255, 255, 255)


class VideoWriter:
    """RGB frames to an mp4 (H.264, yuv420p, index first). The file appears under its name when it is complete.

    Frames have odd rows or columns repeated to even sizes, which yuv420p needs.
    """

    def __init__(self, path: Path, fps: float, quality: int = 24):
        import av

        if not fps > 0:
            raise ConfigError(f"A video's frame rate must be positive, found {fps}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._container: Any = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1000)
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(quality), "preset": "veryfast"}
        self._stream.codec_context.thread_count = 1
        self._size: tuple[int, int] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 RGB frame; all frames have one size."""
        import av

        height, width = frame.shape[:2]
        if self._size is None:
            self._size = (height, width)
            self._stream.width, self._stream.height = width + width % 2, height + height % 2
        elif self._size != (height, width):
            raise ConfigError(f"Video {self.path} has frames of {self._size}; found one of {(height, width)}.")
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file. Safe to call twice."""
        if self._container is None:
            return
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        self._container = None
        self._part.replace(self.path)

    def discard(self) -> None:
        """Drop what was written."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._part.unlink(missing_ok=True)


@dataclass(frozen=True)
class VideoConfig:
    """How episodes are filmed. `camera` None is the environment's `video_camera`."""

    camera: str | None = None
    width: int = 320
    height: int = 240
    hold_s: float = 1.0


class EpisodeVideo:
    """Films an episode through `env.render_camera`, with a strip on top: start state, step, then the outcome."""

    def __init__(self, path: Path, env: SimEnv, init_state: int, config: VideoConfig):
        self._writer = VideoWriter(path, env.control_hz)
        self._camera = config.camera or env.video_camera
        self._config = config
        self._fps = env.control_hz
        self._init_state = init_state
        self._success_step: int | None = None
        self._last: tuple[np.ndarray, int] | None = None

    def add(self, env: SimEnv, step: int, success: bool) -> None:
        """Add the current picture of `env`, after `step` actions."""
        if success and self._success_step is None:
            self._success_step = step
        picture = env.render_camera(self._camera, self._config.width, self._config.height)
        self._last = (picture, step)
        self._writer.add(self._with_strip(picture, step, ended=False))

    def finish(self, success: bool) -> None:
        """Hold the last picture under the outcome and complete the file."""
        if self._last is not None:
            frame = self._with_strip(*self._last, ended=True)
            for _ in range(max(1, round(self._config.hold_s * self._fps))):
                self._writer.add(frame)
        self._writer.close()

    def __enter__(self) -> EpisodeVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._writer.discard()  # does nothing to a finished video

    def _with_strip(self, picture: np.ndarray, step: int, ended: bool) -> np.ndarray:
        left = f"start {self._init_state}"
        if self._success_step is not None:
            return banner(picture, left, f"SUCCESS step {self._success_step}", _GREEN)
        if ended:
            return banner(picture, left, f"FAILURE after {step} steps", _RED)
        return banner(picture, left, f"step {step}", _NEUTRAL)


def last_frame(path: Path) -> np.ndarray:
    """The last frame of a video, (H, W, 3) uint8 RGB. Raises DatasetError when it cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            *_, frame = container.decode(container.streams.video[0])
            return frame.to_ndarray(format="rgb24")
    except (OSError, ValueError, IndexError) as error:  # PyAV's errors are OSError and ValueError
        raise DatasetError(f"Video {path} cannot be read: {error}") from error


def banner(picture: np.ndarray, left: str, right: str, color: tuple[int, int, int]) -> np.ndarray:
    """`picture` (H, W, 3) under a coloured strip with ASCII text; on top, since players cover the lower edge."""
    height, width = picture.shape[:2]
    strip_height = max(18, round(0.075 * height)) // 2 * 2
    scale = strip_height / 42
    strip = np.full((strip_height, width, 3), color, np.uint8)
    baseline = round(0.68 * strip_height)
    margin = strip_height // 3
    right_width = cv2.getTextSize(right, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0]
    for text, x in ((left, margin), (right, width - margin - right_width)):
        cv2.putText(strip, text, (x, baseline), cv2.FONT_HERSHEY_DUPLEX, scale, _WHITE, 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])
