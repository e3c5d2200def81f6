from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, Features, features
from robolearn.datasets.write.writer import DatasetWriter

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


class SmallWorld:
    """A world with two low-dimensional features and a camera whose values count up with the step."""

    features: Features = features(
        [
            Feature("observation.state", (2,), names=("x", "y"), unit="m", frame="base"),
            Feature("action", (2,), kind="action"),
            Feature("observation.images.front", (24, 32, 3), "uint8", "image"),
        ]
    )

    @staticmethod
    def image(step: int, height: int = 24, width: int = 32) -> np.ndarray:
        """A picture that JPEG likes: red grows downwards, green to the right, blue with the step."""
        rows, columns = np.mgrid[0:height, 0:width]
        blue = np.full_like(rows, (40 * step) % 256)
        return np.stack([rows * 255 // height, columns * 255 // width, blue], axis=-1).astype(np.uint8)

    @classmethod
    def values(cls, step: int) -> dict[str, np.ndarray]:
        return {
            "observation.state": np.array([step, -step], np.float32),
            "action": np.array([step + 0.5, 1.0], np.float32),
            "observation.images.front": cls.image(step),
        }

    @classmethod
    def start(cls, writer: DatasetWriter, length: int, first: int = 0, sim: bool = False) -> None:
        """Record `length` steps at 10 Hz, counting up from `first`, and leave the episode pending."""
        writer.start_episode()
        for k in range(length):
            state = np.array([0.1 * k, first + k]) if sim else None
            writer.append(0.1 * k, cls.values(first + k), state)

    @classmethod
    def record(cls, writer: DatasetWriter, length: int, first: int = 0, sim: bool = False, **metadata: object) -> int:
        cls.start(writer, length, first, sim)
        return writer.commit({"task": "count", **metadata})


@pytest.fixture
def world() -> type[SmallWorld]:
    return SmallWorld


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Makes a dataset of episodes of the given lengths, values counting up over all of them; returns its path."""

    def make(*lengths: int, name: str = "small.zarr", sim: bool = False) -> Path:
        path = tmp_path / name
        with DatasetWriter.create(path, SmallWorld.features, fps=10, metadata={"robot": "none"}) as writer:
            for index, length in enumerate(lengths):
                SmallWorld.record(writer, length, first=sum(lengths[:index]), sim=sim)
        return path

    return make


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data in {SHARED_DATA}")
    return SHARED_DATA


MOVES = ActionLayout(
    (Part("pose", reference="target", coordinates="xy", rotation="none", frame="world", scale=(0.5, 0.25)),),
    (("", "panda"),),
)


class RichWorld:
    """Something of everything that a step can hold, at uneven times, with labels, masks and simulator states."""

    features: Features = features(
        [
            Feature("observation.state", (3,), names=("x", "y", "z"), unit="m", frame="base"),
            Feature("observation.force", (2,), "float64", unit="N"),
            Feature("observation.keypoints", (4, 2)),
            Feature("observation.closed", (1,), "bool"),
            Feature("observation.count", (2,), "int32"),
            Feature("action", (2,), kind="action", layout=MOVES),
            Feature("next.reward", (1,)),
            Feature("observation.images.front", (24, 32, 3), "uint8", "image"),
            Feature("observation.images.grey", (9, 11, 1), "uint8", "image"),
            Feature("observation.depth.front", (6, 8), "uint16", "depth", unit="mm"),
        ]
    )
    lengths = (5, 1, 4)

    @classmethod
    def values(cls, rng: np.random.Generator, step: int) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name, feature in cls.features.items():
            kind = np.dtype(feature.dtype).kind
            if name == "observation.images.front":
                found[name] = SmallWorld.image(step)
            elif kind == "f":
                found[name] = rng.normal(size=feature.shape).astype(feature.dtype)
            else:
                high = 2 if kind == "b" else np.iinfo(feature.dtype).max
                found[name] = rng.integers(0, high, feature.shape).astype(feature.dtype)
        return found

    @classmethod
    def record(cls, path: Path) -> Path:
        """Images are stored without loss."""
        rng, metadata = np.random.default_rng(0), {"robot": "arm", "operator_station": {"desk": 1}}
        writer = DatasetWriter.create(path, cls.features, 10, metadata, image_codec="png", durable=False)
        with writer:
            writer.set_sim_model("<mujoco/>", {"name": "robosuite/Lift", "scene_version": 1, "control_hz": 10.0})
            for episode, length in enumerate(cls.lengths):
                writer.start_episode()
                for step, time_s in enumerate(np.cumsum(rng.uniform(0.05, 0.2, length))):
                    writer.append(float(time_s), cls.values(rng, step), rng.normal(size=5))
                writer.commit({"task": f"task {episode % 2}", "success": episode == 0, "seed": episode})
        return path


@pytest.fixture
def rich_dataset(tmp_path: Path) -> Path:
    """A dataset of `RichWorld`."""
    return RichWorld.record(tmp_path / "rich.zarr")


@pytest.fixture(scope="session")
def rich_dataset_to_read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, made once: for tests that change nothing."""
    return RichWorld.record(tmp_path_factory.mktemp("rich") / "rich.zarr")
