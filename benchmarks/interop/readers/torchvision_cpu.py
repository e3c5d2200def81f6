# mypy: ignore-errors
"""What LeRobot 0.3.3 needs of torchvision and does not find beside torch 2.13 without CUDA. Import it first.

torchvision's wheel is built for CUDA, so its compiled operators do not load: two of them, which no reader calls, get
their signatures, or the package could not be imported. `torchvision.io.VideoReader`, by which LeRobot 0.3.3 decodes
with PyAV, was removed from torchvision: here it is on PyAV, with the calls that LeRobot makes. Which frame belongs to
which time stays LeRobot's own code.
"""

import av
import torch

for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402


class VideoReader:
    """Frames `{"data": (C, H, W) uint8, "pts": s}` from the key frame before the time that was sought."""

    def __init__(self, path, stream):
        self.container = av.open(path)
        self._frames = self.container.decode(video=0)

    def seek(self, time_s, keyframes_only):
        stream = self.container.streams.video[0]
        self.container.seek(int(time_s / stream.time_base), stream=stream, backward=True)
        self._frames = self.container.decode(video=0)

    def __iter__(self):
        return self

    def __next__(self):
        frame = next(self._frames)
        return {"data": torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1), "pts": frame.time}


if not hasattr(torchvision.io, "VideoReader"):
    torchvision.io.VideoReader = VideoReader
