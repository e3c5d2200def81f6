"""Recording step by step: what is committed is read back, what is wrong is refused, nothing is lost."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write import creation, journal
from robolearn.datasets.write.writer import DatasetWriter


def snapshot(path):
    """Names and contents of all files outside pending/."""
    files = (p for p in path.rglob("*") if p.is_file() and p.relative_to(path).parts[0] != "pending")
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_what_is_committed_is_read_back(make_dataset, world):
    dataset = Dataset(make_dataset(3, 5))
    assert dataset.num_episodes == 2
    assert dataset.episode_ends.tolist() == [3, 8]
    assert dataset.array("observation.state").tolist() == [[k, -k] for k in range(8)]
    assert np.allclose(dataset.timestamps, [0, 0.1, 0.2, 0, 0.1, 0.2, 0.3, 0.4])
    assert np.abs(dataset.image("observation.images.front", 6).astype(int) - world.image(6)).max() < 12
    assert dataset.features == world.features
    assert dataset.attributes["metadata"] == {"robot": "none"}
    for episode in range(2):
        dataset.verify_episode(episode)


def test_episode_records_keep_metadata(tmp_path, world):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        world.record(w, 4, success=np.bool_(True), seed=np.int64(7), start=np.array([1.0, 2.0]))
    record = Dataset(tmp_path / "d.zarr").episodes[0]
    assert record["success"] is True
    assert (record["seed"], record["start"], record["task"]) == (7, [1.0, 2.0], "count")
    assert (record["index"], record["num_steps"]) == (0, 4)
    assert record["duration_s"] == pytest.approx(0.3)


def test_appending_continues_where_the_dataset_ended(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        assert (w.num_episodes, w.fps) == (1, 10.0)
        assert w.features == world.features
        assert world.record(w, 2, first=3) == 1
    dataset = Dataset(path)
    assert dataset.array("action")[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_many_episodes_cross_chunk_borders(tmp_path, monkeypatch):
    """Rows of 512 values fill a chunk after 32 steps; here 5 episodes fill a chunk of records."""
    monkeypatch.setattr(layout, "EPISODES_PER_CHUNK", 5)
    wide = features([Feature("observation.state", (512,))])
    with DatasetWriter.create(tmp_path / "d.zarr", wide, fps=10) as w:
        for episode in range(23):
            w.start_episode()
            for k in range(1 + episode % 3):
                w.append(k, {"observation.state": np.full(512, 10 * episode + k, np.float32)})
            w.commit({"number": episode})
    dataset = Dataset(tmp_path / "d.zarr")
    expected = [10 * e + k for e in range(23) for k in range(1 + e % 3)]
    assert dataset.array("observation.state")[:, 511].tolist() == expected
    assert [record["number"] for record in dataset.episodes] == list(range(23))


def test_equal_content_has_an_equal_checksum(make_dataset):
    first, same, other = make_dataset(3, 4, name="a"), make_dataset(3, 4, name="b"), make_dataset(4, 3, name="c")
    assert Dataset(first).checksum() == Dataset(same).checksum()
    assert Dataset(first).checksum() != Dataset(other).checksum()


def test_a_pending_or_discarded_episode_is_invisible(make_dataset, world):
    path = make_dataset(3)
    before = snapshot(path)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 4)
        assert w.num_pending_steps == 4
        assert Dataset(path).num_steps == 3
        w.discard()
        assert (w.num_pending_steps, w.leftover_journals) == (0, [])
    assert snapshot(path) == before


def test_simulator_states_and_model_are_kept(tmp_path, world):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, world.features, fps=10) as w:
        w.set_sim_model("<mujoco/>", {"name": "put_on_plate", "scene_version": 1})
        world.record(w, 3, sim=True)
        w.set_sim_model("<mujoco>2</mujoco>", {"name": "put_on_plate", "scene_version": 1})
        world.record(w, 2, first=3, sim=True)
    with DatasetWriter.append_to(path) as w:
        world.record(w, 2, first=5, sim=True)
        with pytest.raises(DatasetError, match="scene_version 1, found 2"):
            w.set_sim_model(None, {"name": "put_on_plate", "scene_version": 2})
        # recorded before datasets named the models of their robots
        w.set_sim_model(None, {"name": "put_on_plate", "scene_version": 1, "robots": {"panda": "robosuite-1.5.2"}})
    dataset = Dataset(path)
    assert np.allclose(dataset.sim_states(1), [[0, 3], [0.1, 4]])
    assert dataset.sim_env == {"name": "put_on_plate", "scene_version": 1}
    assert [dataset.sim_model(i) for i in range(3)] == ["<mujoco/>", "<mujoco>2</mujoco>", "<mujoco>2</mujoco>"]
    assert Dataset(path).verify_episode(2) is None


def test_episodes_of_another_robot_model_are_not_mixed_in(tmp_path, world):
    path = tmp_path / "d.zarr"
    facts = {"name": "put_on_plate", "scene_version": 1, "robots": {"panda": "robosuite-1.5.2"}}
    with DatasetWriter.create(path, world.features, fps=10) as w:
        w.set_sim_model("<mujoco/>", facts)
        world.record(w, 3, sim=True)
        w.set_sim_model("<mujoco/>", facts)
        with pytest.raises(
            DatasetError, match=r"robots \{'panda': 'robosuite-1.5.2'\}, found \{'panda': 'menagerie-1'\}"
        ):
            w.set_sim_model("<mujoco/>", {**facts, "robots": {"panda": "menagerie-1"}})


def test_wrong_steps_are_refused_and_the_episode_goes_on(tmp_path, world):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        world.start(w, 2)
        good = world.values(2)
        for wrong, message in [
            ({**good, "action": np.zeros(3, np.float32)}, r"'action' has shape \(3,\), expected \(2,\)"),
            ({**good, "action": np.array([0, np.nan])}, "'action' holds a non-finite value"),
            ({**good, "acton": np.zeros(2)}, "Did you mean 'action'"),
            ({"action": good["action"]}, r"'observation\.images\.front' is missing"),
            ({**good, "observation.images.front": np.zeros((24, 32, 3))}, "has dtype float64, expected uint8"),
        ]:
            with pytest.raises(FeatureError, match=message):
                w.append(0.2, wrong)
        for time_s in (0.1, 0.0, np.nan, np.inf):
            with pytest.raises(DatasetError, match="Step 2 has timestamp"):
                w.append(time_s, good)
        with pytest.raises(FeatureError, match=r"simulator state has shape \(4,\), expected none"):
            w.append(0.2, good, sim_state=np.zeros(4))
        w.append(0.2, good)
        w.commit({})
    assert Dataset(tmp_path / "d.zarr").array("observation.state")[:, 0].tolist() == [0, 1, 2]


def test_a_simulator_does_not_go_on_with_a_dataset_that_has_no_states_of_it(tmp_path, world):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        world.record(w, 2)
        with pytest.raises(DatasetError, match=r"holds no simulator states.*new dataset.*merge --common"):
            w.set_sim_model("<mujoco/>", {"name": "put_on_plate", "scene_version": 1})


def test_simulator_states_are_for_all_steps_or_none(tmp_path, world):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        world.record(w, 2, sim=True)
        w.start_episode()
        with pytest.raises(FeatureError, match=r"simulator state has shape none, expected \(2,\)"):
            w.append(0.0, world.values(0))


def test_calls_out_of_order_are_explained(tmp_path, world):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        with pytest.raises(DatasetError, match="start_episode first"):
            w.append(0.0, world.values(0))
        with pytest.raises(DatasetError, match="no recorded step to commit"):
            w.commit({})
        w.start_episode()
        with pytest.raises(DatasetError, match="commit or discard it first"):
            w.start_episode()
        w.append(0.0, world.values(0))
        with pytest.raises(DatasetError, match="may not set 'checksums'"):
            w.commit({"checksums": {}})
        with pytest.raises(DatasetError, match="cannot be stored as json"):
            w.commit({"note": object()})
        with pytest.raises(DatasetError, match="cannot be stored as json"):
            w.commit({"note": float("nan")})
        assert w.commit({}) == 0
    with pytest.raises(DatasetError, match="is closed"):
        w.start_episode()


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (Feature("a/b", (2,)), "under the name 'a/b'"),
        (Feature("timestamp", (1,)), "under the name 'timestamp'"),
        (Feature("image", (8, 8, 3), "float32", "image"), "expected uint8"),
        (Feature("depth", (8, 8, 3), "uint16", "depth"), r"expected uint16 \(height, width\)"),
        (Feature("text", (2,), "str"), "expected numbers or booleans"),
        (Feature("long", (2,), "longdouble"), "expected numbers or booleans, of at most 64 bits"),
    ],
)
def test_features_that_cannot_be_stored_are_refused(tmp_path, feature, message):
    with pytest.raises(FeatureError, match=message):
        DatasetWriter.create(tmp_path / "d.zarr", features([feature]), fps=10)
    assert not (tmp_path / "d.zarr").exists()


def test_existing_paths_and_bad_settings_are_refused(make_dataset, tmp_path, world):
    with pytest.raises(DatasetError, match="exists already.*--resume"):
        DatasetWriter.create(make_dataset(1), world.features, fps=10)
    with pytest.raises(DatasetError, match="fps=0"):
        DatasetWriter.create(tmp_path / "new.zarr", world.features, fps=0)
    with pytest.raises(DatasetError, match="found 101"):
        DatasetWriter.create(tmp_path / "new.zarr", world.features, fps=10, jpeg_quality=101)
    with pytest.raises(DatasetError, match="does not exist"):
        DatasetWriter.append_to(tmp_path / "nothing.zarr")


def test_png_and_depth_are_lossless(tmp_path):
    pictures = features(
        [
            Feature("observation.images.top", (6, 5, 3), "uint8", "image"),
            Feature("observation.depth.top", (6, 5), "uint16", "depth"),
        ]
    )
    rng = np.random.default_rng(0)
    image, depth = rng.integers(0, 256, (6, 5, 3), np.uint8), rng.integers(0, 65536, (6, 5), np.uint16)
    with DatasetWriter.create(tmp_path / "d.zarr", pictures, fps=10, image_codec="png") as w:
        w.start_episode()
        w.append(0.0, {"observation.images.top": image, "observation.depth.top": depth})
        w.commit({})
    dataset = Dataset(tmp_path / "d.zarr")
    assert (dataset.image("observation.images.top", 0) == image).all()
    assert (dataset.image("observation.depth.top", 0) == depth).all()


def test_a_second_writer_is_refused_with_the_pid_of_the_first(make_dataset, world):
    path = make_dataset(1)
    code = f"from robolearn.datasets.write.writer import DatasetWriter; DatasetWriter.append_to({str(path)!r})"
    with DatasetWriter.append_to(path) as w:
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"is being written by process {os.getpid()}" in other.stderr
        world.record(w, 2, first=1)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_step_that_finds_the_disk_full_can_be_repeated(tmp_path, world, monkeypatch):
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10) as w:
        world.start(w, 2)

        def disk_full(*args):
            raise OSError(28, "No space left on device")

        for function, owner in (("write_file", journal), ("pwrite", os)):
            with monkeypatch.context() as patch:
                patch.setattr(owner, function, disk_full)
                with pytest.raises(DatasetError, match=r"step 2 failed: No space left on device.*before it are kept"):
                    w.append(0.2, world.values(2))
        w.append(0.2, world.values(2))
        w.commit({})
    dataset = Dataset(tmp_path / "d.zarr")
    assert dataset.array("observation.state")[:, 0].tolist() == [0, 1, 2]
    dataset.verify_episode(0)


def test_a_dataset_that_cannot_be_made_leaves_nothing_in_its_place(tmp_path, world, monkeypatch):
    path = tmp_path / "d.zarr"

    def disk_full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(creation, "sync_file_system", disk_full)
        with pytest.raises(DatasetError, match=r"Making .*d\.zarr failed: No space left on device"):
            DatasetWriter.create(path, world.features, fps=10)
    assert not path.exists()
    DatasetWriter.create(path, world.features, fps=10).close()


def test_closing_keeps_an_uncommitted_episode_aside(make_dataset, world):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2)
    with DatasetWriter.append_to(path) as w:
        assert len(w.leftover_journals) == 1
        world.record(w, 2, first=3)
        w.start_episode()
        w.append(0.0, world.values(0))
        w.discard()
        assert len(w.leftover_journals) == 1
    assert Dataset(path).num_steps == 5


def test_kill_9_while_recording_loses_no_committed_episode_and_keeps_the_journal(tmp_path):
    path = tmp_path / "killed.zarr"
    code = textwrap.dedent(f"""
        import numpy as np
        from pathlib import Path
        from robolearn.core.feature import Feature, features
        from robolearn.datasets.write.writer import DatasetWriter
        signals = features([Feature("action", (2,)), Feature("observation.images.a", (8, 8, 3), "uint8", "image")])
        w = DatasetWriter.create(Path({str(path)!r}), signals, fps=10)
        for episode in range(1000):
            w.start_episode()
            for k in range(25):
                value = np.full(2, k, np.float32)
                w.append(k / 10, {{"action": value, "observation.images.a": np.full((8, 8, 3), k, np.uint8)}})
                print(episode, k, flush=True)
            w.commit({{}})
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while (line := process.stdout.readline().split()) != ["3", "11"]:
        assert line, "the recording process ended early"
    process.kill()
    episode, step = map(int, (process.stdout.read().split() or line)[-2:])
    process.wait()

    dataset = Dataset(path)
    assert dataset.num_episodes >= episode
    for k in range(dataset.num_episodes):
        dataset.verify_episode(k)
    if dataset.num_episodes == episode:
        with DatasetWriter.append_to(path) as w:
            (left,) = w.leftover_journals
            rows = (left / "steps.bin").stat().st_size // (8 + 8 + 4 + 4)
            assert rows >= step + 1
            assert len(list((left / "observation.images.a").iterdir())) >= rows


def test_only_whole_metadata_is_a_dataset(tmp_path, world):
    path = tmp_path / "d.zarr"
    DatasetWriter.create(path, world.features, fps=10).close()
    assert Dataset(path).num_steps == 0
    (path / layout.METADATA).unlink()
    with pytest.raises(DatasetError, match=r"\.zmetadata is missing"):
        DatasetWriter.append_to(path)
