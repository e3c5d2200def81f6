"""Videos of a LeRobot dataset: each episode encoded by itself, then episodes joined into files without re-encoding."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.convert.export.protocol import VideoCodec

ENCODERS = {"av1": "libsvtav1", "h264": "libx264"}
CRF = {"av1": 30, "h264": 23}
# a key frame every other frame, as LeRobot does: random access decodes two frames at most
KEY_FRAME_EVERY = "2"
PIXELS = "yuv420p"
FILE_BYTES = 200 * 2**20
# LeRobot looks frames up by float32 seconds within 1e-4 s: beyond 1024 s neighbours of a float32 are farther apart
FILE_SECONDS = 1000.0


def frame_rate(fps: float) -> Fraction:
    """`fps` as the ratio that a video file stores."""
    return Fraction(fps).limit_denominator(10_000)


def can_encode(shape: tuple[int, ...]) -> bool:
    """Whether images of shape `(H, W, C)` can be frames: colour, and even sides, because chroma is halved."""
    return len(shape) == 3 and shape[2] == 3 and shape[0] % 2 == 0 and shape[1] % 2 == 0


def encode(path: Path, frames: Iterable[np.ndarray], fps: float, codec: VideoCodec, crf: int | None) -> None:
    """Write `(H, W, 3)` uint8 RGB frames as an mp4 of one thread's work, without reordered frames.

    Raises DatasetError when the encoder refuses.
    """
    os.environ.setdefault("SVT_LOG", "1")  # errors only: the AV1 encoder prints its settings to the terminal
    options = {"g": KEY_FRAME_EVERY, "crf": str(CRF[codec] if crf is None else crf)}
    options |= {"preset": "8", "svtav1-params": "lp=1"} if codec == "av1" else {"bf": "0", "threads": "1"}
    try:
        with av.open(str(path), "w", format="mp4") as container:
            stream: Any = None
            for image in frames:
                if stream is None:
                    stream = container.add_stream(ENCODERS[codec], frame_rate(fps), options=options)
                    stream.height, stream.width, stream.pix_fmt = image.shape[0], image.shape[1], PIXELS
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # the disk is full
            raise
        raise DatasetError(f"Encoding {path.name} as {codec} failed: {error}; try another --video.") from error


@dataclass(frozen=True)
class VideoPart:
    """The video of one episode.

    Attributes:
        path: mp4 with the frames of the episode only.
        length: its frames.
    """

    path: Path
    length: int


@dataclass(frozen=True)
class VideoPlace:
    """Where an episode is: number of the file, and the frame in it at which it starts."""

    file: int
    first: int


def plan(parts: Sequence[VideoPart], fps: float) -> list[VideoPlace]:
    """Fill files in order, each up to `FILE_BYTES` and `FILE_SECONDS`; a longer episode has a file to itself."""
    places: list[VideoPlace] = []
    file = first = size = 0
    for part in parts:
        part_bytes = part.path.stat().st_size
        too_much = size + part_bytes > FILE_BYTES or (first + part.length) / fps > FILE_SECONDS
        if places and first and too_much:
            file, first, size = file + 1, 0, 0
        places.append(VideoPlace(file, first))
        first, size = first + part.length, size + part_bytes
    return places


def join(parts: Sequence[VideoPart], path: Path, fps: float) -> None:
    """Write the videos of several episodes one after the other, frame `k` at `k / fps` seconds.

    Raises DatasetError when a part does not have its number of frames.
    """
    rate = frame_rate(fps)
    first = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for part in parts:
            with av.open(str(part.path)) as episode:
                video = episode.streams.video[0]
                if stream is None:
                    stream = container.add_stream_from_template(video, opaque=True)
                    stream.time_base = 1 / rate
                found = 0
                for packet in episode.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts = packet.dts = first + found
                    packet.duration, packet.time_base, packet.stream = 1, 1 / rate, stream
                    container.mux(packet)
                    found += 1
            if found != part.length:
                raise DatasetError(
                    f"{part.path} holds {found} frames, expected {part.length}; remove it and run again."
                )
            first += found
