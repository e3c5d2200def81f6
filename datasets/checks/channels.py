"""Red and blue exchanged: pictures of the same camera, or of the same scene, that agree only when one is turned round.

What is compared is the histogram of (R - B) / (R + G + B): exchanging the channels reflects it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.frames import FrameRoll
from robolearn.datasets.checks.images import _Pictures
from robolearn.datasets.checks.survey import EpisodeView, Survey

BINS = np.linspace(-1, 1, 41)
DISTINCT = 0.4  # distance (0 to 2) of a histogram from its reflection, so that there is something to tell them apart
BETTER = 0.5  # the reflection has to be this much nearer


class ChannelOrder(_Pictures):
    name = "channels"

    def __init__(self) -> None:
        self._warmth: dict[str, dict[int, np.ndarray]] = {}

    def camera(self, view: EpisodeView, name: str, key: str, roll: FrameRoll) -> Iterator[Finding]:
        pictures = [picture for picture in roll.thumbnails.values() if picture.shape[-1] == 3]
        if pictures:
            pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]).astype(np.float64)
            bright = pixels.sum(1) > 60
            if bright.any():
                warmth = (pixels[bright, 0] - pixels[bright, 2]) / pixels[bright].sum(1)
                counts = np.histogram(warmth, BINS)[0]
                self._warmth.setdefault(name, {})[view.index] = counts / counts.sum()
        return iter(())

    def finish(self, survey: Survey) -> Iterator[Finding]:
        usual = {name: np.median(list(found.values()), axis=0) for name, found in self._warmth.items()}
        for name, found in self._warmth.items():
            if _distance(usual[name], usual[name][::-1]) < DISTINCT:
                continue
            for episode, counts in found.items() if len(found) > 2 else ():
                if _is_reflection(counts, usual[name]):
                    message = "red and blue look exchanged, compared with the other episodes of this camera"
                    yield Finding(severity="warning", check=self.name, message=message, episode=episode, feature=name)
        names = list(usual)
        for number, name in enumerate(names):
            for other in names[:number]:
                told = min(_distance(usual[n], usual[n][::-1]) for n in (name, other)) >= DISTINCT
                if told and _is_reflection(usual[name], usual[other]):
                    message = f"red and blue look exchanged, compared with {other} (or the other way round)"
                    yield Finding(severity="warning", check=self.name, message=message, feature=name)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between histograms, blurred so that a little more of a colour is near."""
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    return float(np.abs(np.convolve(a - b, kernel, mode="same")).sum())


def _is_reflection(found: np.ndarray, usual: np.ndarray) -> bool:
    return _distance(found[::-1], usual) < BETTER * _distance(found, usual)
