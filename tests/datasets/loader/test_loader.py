"""Batches of the loader: the same whatever the workers and caches, masks, mixtures, failures."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.loader import FinalGoal, FutureGoal, Loader, Source, WindowSpec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parent))
from small_datasets import ACTION, IMAGE, PICTURES, STATE, VECTORS, write_pictures, write_vectors


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def current_steps(batch: dict[str, np.ndarray]) -> list[int]:
    """The world's actions are the step + 0.5; the first action of PICTURES is that of the current step."""
    return (batch[ACTION][:, 0, 0] - 0.5).astype(int).tolist()


def test_padding_can_be_refused(dataset):
    spec = WindowSpec({STATE: (-2, -1, 0), ACTION: (0, 1)}, pad_before=0, pad_after=0, pad_masks=(ACTION,))
    loader = Loader(dataset, spec, 100)
    steps = {int(window[-1, 0]) for window in loader.at(0)[STATE]}
    assert steps == {2, 3, 10, 11, 12, 13, 14}  # episodes 0-4, 5-7 and 8-15: two steps before, one after; 7 has none
    assert not loader.at(0)[f"{ACTION}.is_pad"].any()


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 9), seed=st.integers(0, 3), cut=st.integers(0, 12))
def test_going_on_at_a_step_gives_the_batches_of_a_run_in_one_go(dataset, batch, seed, cut):
    goals = FutureGoal((STATE,), horizon=2)
    whole = Loader(dataset, VECTORS, batch, seed, goals=goals)
    kept = [{name: value.copy() for name, value in whole.at(step).items()} for step in range(cut + 4)]
    resumed = Loader(dataset, VECTORS, batch, seed, goals=goals, workers=1)
    assert all(same(a, b) for a, b in zip(kept[cut:], resumed.batches(cut, cut + 4), strict=True))
    resumed.close()


@pytest.mark.parametrize("cache", ["none", "encoded", "decoded", "auto"])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_do_not_depend_on_workers_or_cache(dataset, cache, workers):
    goals = FutureGoal((IMAGE, STATE))
    plain = Loader(dataset, PICTURES, 5, seed=3, goals=goals, cache="none")
    with Loader(dataset, PICTURES, 5, seed=3, goals=goals, cache=cache, workers=workers) as loader:
        for step in (*range(9), 2, 3, 30):  # epochs of 3 batches, then back, then far ahead
            assert same(loader.at(step), plain.at(step))
        assert all(same(a, b) for a, b in zip(loader.all(), plain.all(), strict=True))


def test_images_are_those_of_the_dataset(dataset):
    loader = Loader(dataset, PICTURES, 16, cache="encoded")
    batch = loader.at(0)
    assert batch[IMAGE].shape == (16, 2, 24, 32, 3) and batch[IMAGE].dtype == np.uint8
    starts = {0, 5, 8}
    for row, step in enumerate(current_steps(batch)):
        previous = step if step in starts else step - 1
        assert (batch[IMAGE][row, 0] == dataset.image(IMAGE, previous)).all()
        assert (batch[IMAGE][row, 1] == dataset.image(IMAGE, step)).all()


def test_every_frame_of_a_batch_is_decoded_once_and_cached_frames_never_again(dataset, monkeypatch):
    counted = []
    decode = type(dataset.codec(IMAGE)).decode_into
    monkeypatch.setattr(
        type(dataset.codec(IMAGE)),
        "decode_into",
        lambda codec, data, out: (counted.append(1), decode(codec, data, out)),
    )
    Loader(dataset, PICTURES, 16, cache="none").at(0)
    assert len(counted) == 16  # of 32 frames shown
    loader = Loader(dataset, PICTURES, 16, cache="decoded")
    for step in range(3):
        loader.at(step)
    assert len(counted) == 32


def test_a_batch_that_is_held_is_never_written_again(dataset):
    loader = Loader(dataset, PICTURES, 4, cache="none")
    held = [loader.at(step) for step in range(12)]
    views = [batch[IMAGE][1:, 0] for batch in held]
    copies = [view.copy() for view in views]
    del held
    for step in range(12, 40):
        loader.at(step)
    assert all((view == copy).all() for view, copy in zip(views, copies, strict=True))


def test_memory_of_a_batch_that_is_gone_is_used_again(dataset):
    loader = Loader(dataset, PICTURES, 4, cache="none")
    places = {loader.at(step)[IMAGE].__array_interface__["data"][0] for step in range(20)}
    assert len(places) <= 2


def test_resizing_averages_areas(dataset):
    batch = Loader(dataset, PICTURES, 4, resize={IMAGE: (12, 16)}, cache="decoded").at(0)
    assert batch[IMAGE].shape == (4, 2, 12, 16, 3)
    for row, step in enumerate(current_steps(batch)):
        whole = dataset.image(IMAGE, step).astype(float)
        averaged = whole.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3))
        assert np.abs(batch[IMAGE][row, 1] - averaged).max() <= 1


def test_grey_images_and_depth_can_be_resized(tmp_path):
    grey, depth = "observation.images.grey", "observation.depth.front"
    declared = features([Feature(grey, (4, 6, 1), "uint8", "image"), Feature(depth, (4, 6), "uint16", "depth")])
    edge = np.where(np.arange(6) < 3, 100, 3000).astype(np.uint16) * np.ones((4, 1), np.uint16)
    with DatasetWriter.create(tmp_path / "d.zarr", declared, 10.0, image_codec="png", durable=False) as writer:
        writer.start_episode()
        writer.append(0.0, {grey: np.arange(24, dtype=np.uint8).reshape(4, 6, 1), depth: edge})
        writer.commit({})
    spec, half = WindowSpec({grey: (0,), depth: (0,)}), {grey: (2, 3), depth: (2, 3)}
    batch = Loader(Dataset(tmp_path / "d.zarr"), spec, 1, resize=half).at(0)
    assert batch[grey].shape == (1, 1, 2, 3, 1) and batch[depth].shape == (1, 1, 2, 3)
    assert np.abs(batch[grey][0, 0, ..., 0] - [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]).max() <= 0.5
    assert set(batch[depth].ravel().tolist()) == {100, 3000}  # nothing in between


def test_two_processes_share_out_the_batches_of_one(dataset):
    goals = FutureGoal((STATE,))
    one = Loader(dataset, VECTORS, 6, seed=1, goals=goals)
    two = [Loader(dataset, VECTORS, 6, seed=1, goals=goals, rank=rank, world_size=2) for rank in range(2)]
    assert all(loader.per_epoch == one.per_epoch for loader in two)
    for step in range(5):
        whole, parts = one.at(step), [loader.at(step) for loader in two]
        for name in whole:
            assert (np.stack([parts[0][name], parts[1][name]], 1).reshape(whole[name].shape) == whole[name]).all()


def test_windows_tell_where_they_come_from(dataset, tmp_path):
    other = write_vectors(tmp_path / "other.zarr", [4, 2], first=100)
    spec = WindowSpec({ACTION: (0,)})
    loader = Loader([Source(other, [1]), Source(other, [0])], spec, 6)
    origin = loader.origin(loader.windows(0))
    batch = loader.at(0)
    assert (batch[ACTION][:, 0, 0] == 100 + origin.step).all()
    assert (origin.episode == np.where(origin.step >= 4, 1, 0)).all()
    assert (origin.source == np.where(origin.episode == 1, 0, 1)).all()
    in_order = np.concatenate([part[ACTION][:, 0, 0] for part in loader.all()])
    assert in_order.tolist() == [104, 105, 100, 101, 102, 103]


def test_goals_of_images_come_from_the_same_episode(dataset):
    loader = Loader(dataset, PICTURES, 16, goals=FinalGoal((IMAGE,)))
    batch = loader.at(0)
    finals = np.searchsorted([5, 8, 16], current_steps(batch), side="right")
    for row, episode in enumerate(finals):
        assert (batch[f"goal.{IMAGE}"][row, 0] == dataset.image(IMAGE, (4, 7, 15)[episode])).all()


def test_goals_outside_their_episode_are_refused(dataset):
    class Next:
        features, horizon = (STATE,), 1

        def steps(self, current, first, last, uniform):
            return current[:, None] + 1

    with pytest.raises(ConfigError, match=r"Next\.steps must give \(16, 1\) steps within their episodes"):
        Loader(dataset, VECTORS, 16, goals=Next()).at(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_frame_is_named_and_the_batches_without_it_still_come(tmp_path, workers):
    dataset = write_pictures(tmp_path / "damaged.zarr", 5, 3)
    file = dataset.image_file(IMAGE, 6)
    file.write_bytes(file.read_bytes()[:-40])
    loader = Loader(dataset, PICTURES, 2, cache="none", workers=workers)
    failures = []
    for step in range(loader.per_epoch):
        try:
            assert 6 not in current_steps(loader.at(step))
        except DatasetError as error:
            failures.append(str(error))
    assert 1 <= len(failures) <= 2  # shown as the current step and as the one before
    assert all(str(file) in failure and "\n" not in failure for failure in failures)
    loader.close()


def test_an_image_of_another_shape_is_named(tmp_path):
    dataset = write_pictures(tmp_path / "small.zarr", 4)
    loader = Loader(dataset, PICTURES, 16, cache="none")
    small = JpegCodec().encode(np.zeros((8, 8, 3), np.uint8))
    dataset.encoded_many = lambda name, steps: [small for _ in steps]
    with pytest.raises(DatasetError, match=r"data/observation\.images\.front/0\.0\.0\.0: .*\(8, 8, 3\), expected"):
        loader.at(0)


def test_closing_ends_the_threads(dataset):
    before = threading.active_count()
    loader = Loader(dataset, PICTURES, 2, workers=3)
    for step in range(4):
        loader.at(step)
    assert threading.active_count() > before
    loader.close()
    assert threading.active_count() == before


def test_a_loader_that_is_not_closed_does_not_hold_up_the_exit(dataset, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from robolearn.datasets.loader import Loader, WindowSpec\n"
        "from robolearn.datasets.read.reader import Dataset\n"
        f"loader = Loader(Dataset({str(dataset.path)!r}), WindowSpec({{{IMAGE!r}: (0,)}}), 2, workers=2)\n"
        "loader.at(0)\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n" and done.returncode == 0, done.stderr


def test_what_is_no_dataset_is_explained(dataset):
    for sources, message in (
        ("plate.zarr", r"Dataset\('plate.zarr'\); found the path only"),
        ([dataset], r"a list of Source\(Dataset\(path\)\)"),
        ([Source("plate.zarr")], "found Source"),
    ):
        with pytest.raises(ConfigError, match=message):
            Loader(sources, PICTURES, 4)


def test_wrong_options_are_explained(dataset):
    for options, message in (
        ({"workers": -1}, "workers=-1"),
        ({"rank": 2, "world_size": 2}, "rank=2, world_size=2"),
        ({"cache": "disk"}, "one of auto, none, encoded, decoded, found 'disk'"),
        (
            {"resize": {"observation.images.fornt": (8, 8)}},
            r"resize: Unknown image feature .*'observation\.images\.front'",
        ),
        ({"resize": {IMAGE: (0, 8)}}, "cannot be resized to 0 x 8"),
        ({"batch_size": 0}, "positive multiple of 1, found 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            Loader(dataset, PICTURES, **{"batch_size": 4, **options})


def test_remote_datasets_give_the_same_batches(dataset):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.path), "/loader/small.zarr", recursive=True)
    try:
        remote = Dataset("memory://loader/small.zarr")
        assert not remote.is_local
        with Loader(remote, PICTURES, 5, cache="encoded", workers=2) as loader:
            local = Loader(dataset, PICTURES, 5)
            assert all(same(loader.at(step), local.at(step)) for step in range(4))
    finally:
        memory.rm("/loader", recursive=True)
