"""features: other names, kinds and element names for what is stored; everything else stays."""

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.checks import validate
from robolearn.datasets.format.episode import EpisodeData, StreamRows
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.features import Changes, change_features
from robolearn.datasets.tools.merge import merge
from robolearn.datasets.write.writer import DatasetWriter

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 16, 20, 3)).astype(np.uint8)


def changed(parent, output, rename=(), kinds=(), names=(), drop=(), ranges=()):
    changes = Changes(dict(rename), dict(kinds), dict(names), drop, dict(ranges))
    return Dataset(change_features(Dataset(parent), output, changes).output)


@pytest.fixture
def imported(tmp_path):
    """What an import used to make of keys `actions` and `img` (floats, channels first): a state and an array."""
    path = tmp_path / "a.zarr"
    img = np.moveaxis(PICTURES / 255, -1, 1).astype(np.float32)
    found = features([
        Feature("actions", (2,)), Feature("observation.img", (3, 16, 20)),
        Feature("observation.images.front", (16, 20, 3), "uint8", "image"),
    ])  # fmt: skip
    metadata = {"cameras": {"front": {"fx": 3.0}}}
    with DatasetWriter.create(path, found, 10, metadata, image_codec="png", durable=False) as writer:
        for episode in range(2):
            writer.start_episode()
            for k in range(3):
                row = 3 * episode + k
                values = {"actions": np.array([row, -row], np.float32), "observation.img": img[row],
                          "observation.images.front": PICTURES[row]}  # fmt: skip
                writer.append(k / 10, values)
            writer.commit({"task": "stack"})
    return path


def test_an_action_that_was_taken_for_a_state_is_one_again(imported, tmp_path):
    made = changed(imported, tmp_path / "b.zarr", {"actions": "action"}, names={"actions": ["x", "y"]})
    assert made.features["action"] == Feature("action", (2,), "float32", "action", ("x", "y"))
    assert made.array("action")[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    old = Dataset(imported)
    assert [made.encoded("observation.images.front", k) for k in range(6)] == [
        old.encoded("observation.images.front", k) for k in range(6)
    ]
    assert [e["source_episode"] for e in made.episodes] == [0, 1]
    assert not [f for f in validate(tmp_path / "b.zarr") if f.severity == "error"]


def test_validate_says_what_an_import_did_not_know(imported, tmp_path):
    found = [f.message for f in validate(imported) if f.check == "features"]
    assert found == [
        "no feature is an action, actions may be it: robolearn dataset features --rename actions=action",
        "rows of shape (3, 16, 20) look like pictures: robolearn dataset features --kind observation.img=image makes "
        "some of them",
    ]
    changed(imported, tmp_path / "b.zarr", {"actions": "action"}, {"observation.img": "image"})
    assert not [f for f in validate(tmp_path / "b.zarr") if f.check == "features"]


def test_what_was_mended_merges_with_what_was_imported_right(imported, tmp_path):
    one = changed(imported, tmp_path / "b.zarr", {"actions": "action"})
    two = changed(imported, tmp_path / "c.zarr", {"actions": "action"})
    assert merge([one, two], tmp_path / "m.zarr").num_episodes == 4


def test_an_array_of_numbers_becomes_the_pictures_that_it_was(imported, tmp_path):
    made = changed(
        imported, tmp_path / "b.zarr", {"observation.img": "observation.images.top"}, {"observation.img": "image"}
    )
    assert made.features["observation.images.top"] == Feature("observation.images.top", (16, 20, 3), "uint8", "image")
    assert all((made.image("observation.images.top", k) == PICTURES[k]).all() for k in range(6))
    assert not [f for f in validate(tmp_path / "b.zarr") if f.severity == "error"]


def test_names_can_be_exchanged_and_cameras_follow(imported, tmp_path):
    swapped = changed(imported, tmp_path / "b.zarr", {"actions": "observation.img", "observation.img": "actions"})
    assert swapped.features["observation.img"].shape == (2,)
    assert swapped.array("observation.img")[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    made = changed(imported, tmp_path / "c.zarr", {"observation.images.front": "observation.images.wrist"})
    assert made.attributes["metadata"]["cameras"] == {"wrist": {"fx": 3.0}}
    assert (made.image("observation.images.wrist", 4) == PICTURES[4]).all()


def test_a_feature_that_is_dropped_makes_room_for_its_name(imported, tmp_path):
    made = changed(imported, tmp_path / "b.zarr", {"observation.img": "actions"}, drop=["actions"])
    assert list(made.features) == ["actions", "observation.images.front"]
    assert made.features["actions"].shape == (3, 16, 20)


def test_streams_change_with_their_steps(tmp_path):
    path = tmp_path / "s.zarr"
    found = features([Feature("cmd", (2,), rate_hz=10), Feature("press", (1,), "int64", "event")])
    times = np.arange(4) / 10
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    rows = StreamRows(times, np.full(4, np.nan), np.arange(4), values, at_step=np.arange(4))
    press = StreamRows(times[:1], np.full(1, np.nan), np.arange(1), np.ones((1, 1), np.int64))
    with DatasetWriter.create(path, found, 10, recorded="streams", durable=False) as writer:
        writer.write_episode(EpisodeData(times, {}, streams={"cmd": rows, "press": press}))
    made = changed(path, tmp_path / "b.zarr", {"cmd": "action", "press": "button"})
    assert made.features["action"].kind == made.streams["action"].kind == "action"
    assert (made.array("action") == values).all()
    assert (made.stream("action").values == values).all()
    assert made.stream("button").values.tolist() == [[1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "nothing to change; give --rename, --kind, --names, --layout or --drop"),
        ({"rename": {"action": "a"}}, "--rename: Unknown key 'action'. Did you mean 'actions'\\? Known: actions, obs"),
        (
            {"kinds": {"observation.images.front": "depth"}},
            "observation.images.front is stored as pictures, kind image",
        ),
        ({"kinds": {"actions": "image"}}, "actions has rows of shape \\(2,\\), float32, and a picture is"),
        ({"names": {"actions": ["x"]}}, "--names actions: 1 names for an array of shape \\(2,\\)"),
        ({"rename": {"actions": "observation.img"}}, "would both be called 'observation.img'"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_leaves_nothing(imported, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        changed(imported, tmp_path / "b.zarr", **changes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr"]


def test_an_episode_outside_the_range_is_named(imported, tmp_path):
    with pytest.raises(DatasetError, match=r"a\.zarr: episode 0: step 0: observation.img holds .*, outside 0 to 0.5"):
        changed(imported, tmp_path / "b.zarr", kinds={"observation.img": "image"}, ranges={"observation.img": (0, 0.5)})
