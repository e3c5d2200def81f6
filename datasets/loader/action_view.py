"""`ActionView`: the actions of a dataset in another layout than they are stored in, made when they are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.errors import DatasetError, LayoutError
from robolearn.core.feature import Feature
from robolearn.datasets.read.arms import action_layout, layout_in
from robolearn.datasets.read.reader import Dataset
from robolearn.kinematics.conversion import absolute, conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.episode import convert_episode, observed_parts
from robolearn.kinematics.observed import relative_to_observation


class ActionView:
    """Nothing of the dataset is rewritten. What a layout says of single steps is computed once, for each episode when
    it is first asked for; what is relative to the newest observation of a window stays absolute here.

    Args:
        dataset: whose actions are seen.
        layout: a dialect of all arms of the dataset, such as "joints", "pose.current.axis_angle" or "umi"; or a layout.
        action: name of the feature.

    Attributes:
        feature: the action in the wanted layout.
        conversion: from what is stored; with absolute parts where they are to be relative to the newest observation.
        counts: what was not carried over exactly, of all episodes that were asked for.
        by_window: whether parts are relative to the newest observation of a window.

    Raises LayoutError, with the reason, where the dataset does not hold what is asked for.
    """

    def __init__(self, dataset: Dataset, layout: str | ActionLayout, action: str = "action"):
        self._dataset = dataset
        stored, stored_feature = action_layout(dataset, action), dataset.features[action]
        wanted = layout_in(layout, stored, dataset.name) if isinstance(layout, str) else layout
        if not wanted.robots and wanted.arms == stored.arms:
            wanted = replace(wanted, robots=stored.robots)
        try:
            self.conversion = conversion(stored, absolute(wanted), dt_s=1.0 / dataset.fps)
        except LayoutError as error:
            raise LayoutError(f"{dataset.name}: {error}") from error
        dtype = stored_feature.dtype if np.dtype(stored_feature.dtype).kind == "f" else "float32"
        self.feature = Feature(action, (wanted.size,), dtype, "action", rate_hz=stored_feature.rate_hz, layout=wanted)
        self.by_window = relative_to_observation(wanted)
        self.counts = Counts()
        self._column: np.ndarray | None = None
        self._made: set[int] = set()

    @property
    def name(self) -> str:
        """Of the dataset, for messages."""
        return self._dataset.name

    @property
    def description(self) -> str:
        """One line: what becomes what."""
        stored, wanted = self.conversion.source, self.feature.layout
        assert wanted is not None
        if stored.parts == wanted.parts:
            return f"actions are as stored: {wanted.describe()}"
        return f"actions are converted while loading: {stored.describe()} -> {wanted.describe()}"

    def column(self, episodes: Iterable[int]) -> np.ndarray:
        """(N, A) of all steps of the dataset, read-only, with the numbers of these episodes; others may be missing.

        Raises DatasetError, naming the step, for numbers that are not finite.
        """
        if self.conversion.identity:
            return self._dataset.array(self.feature.name)
        if self._column is None:
            self._column = np.zeros((self._dataset.num_steps, *self.feature.shape), self.feature.dtype)
        self._column.flags.writeable = True
        for episode in episodes:
            if episode not in self._made:
                self._make(int(episode), self._column)
                self._made.add(int(episode))
        self._column.flags.writeable = False
        return self._column

    def _make(self, episode: int, column: np.ndarray) -> None:
        dataset, steps = self._dataset, self._dataset.episode_slice(episode)
        states = {name: dataset.features[name] for name in observed_parts(dataset.features)}
        observed = {name: dataset.array(name)[steps] for name in states}
        converter = ActionConverter(self.conversion, states)
        converter.counts = self.counts
        try:
            column[steps] = convert_episode(converter, dataset.array(self.feature.name)[steps], observed)
        except LayoutError as error:
            raise DatasetError(f"{dataset.name}, episode {episode}, {error}") from error
