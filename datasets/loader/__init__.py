"""Batches of windows for training: one loader for all policies, without torch.

loader = Loader(Dataset("pusht.zarr"), WindowSpec.chunks(["observation.state"], "action", 2, 16), batch_size=256)
batch = loader.at(0)  # "observation.state" (256, 2, 2), "action" (256, 17, 2)
"""

from robolearn.datasets.loader.action_view import ActionView
from robolearn.datasets.loader.collection import Source, finite_array
from robolearn.datasets.loader.goals import FinalGoal, FutureGoal, Goal
from robolearn.datasets.loader.images import CacheMode
from robolearn.datasets.loader.loader import Batch, Loader, Origin
from robolearn.datasets.loader.selection import select_episodes, steps_of
from robolearn.datasets.loader.windows import WindowSpec

__all__ = [
    "ActionView", "Batch", "CacheMode", "FinalGoal", "FutureGoal", "Goal", "Loader", "Origin", "Source",
    "WindowSpec", "finite_array", "select_episodes", "steps_of",
]  # fmt: skip
