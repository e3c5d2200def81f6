"""LeRobot's times: which frame of a video a step is, wherever its episode begins, and videos that end early."""

import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")
from pyarrow import parquet  # noqa: E402

sys.path.append(str(Path(__file__).parent))
from odd_sources import (  # noqa: E402
    CAM,
    FPS,
    LENGTHS,
    STARTS,
    colours,
    convert,
    embedded,
    encoded,
    numbers_of,
    rows,
    write_v2,
    write_v3,
    write_video,
)


@pytest.mark.parametrize("begin", [lambda e: STARTS[e] / FPS, lambda e: 1.2, lambda e: -3.0, lambda e: 1.75e4])
@pytest.mark.parametrize("bounded", [True, False])
def test_of_version_3_times_count_from_the_first_step_wherever_they_begin(tmp_path, begin, bounded):
    stops = None if bounded else [None] * 3
    source = write_v3(tmp_path / "v3", lambda e: begin(e) + np.arange(LENGTHS[e]) / FPS, stops=stops)
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(sum(LENGTHS)))
    assert report.skipped == ()
    for episode in range(3):
        found = dataset.timestamps[dataset.episode_slice(episode)]
        assert found[0] == 0.0
        assert found == pytest.approx(np.arange(LENGTHS[episode]) / FPS, abs=2e-3)
    assert any("timestamp does not begin at 0" in note for note in report.notes)


def test_of_version_2_times_count_from_the_first_step(tmp_path):
    source = write_v2(tmp_path / "v2", lambda e: {"times": 1.2 + np.arange(LENGTHS[e]) / FPS})
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(sum(LENGTHS)))
    assert dataset.timestamps[:6] == pytest.approx(np.arange(6) / FPS, abs=1e-6)
    assert report.notes == (
        "timestamp does not begin at 0: times are counted from the first step of the episode (episodes 0-2)",
    )


def test_frames_beyond_the_end_of_an_episode_are_not_taken(tmp_path):
    """Episode 0 ends after 5 of its 6 steps: what comes then is episode 1's first frame, and not its own."""
    source = write_v3(tmp_path / "v3", starts=(0, 5, 11), stops=(5, 11, 18), frames=18)
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == [*range(5), *range(5, 11), *range(11, 18)]
    assert dataset.episode_ends.tolist() == [5, 11, 18]
    assert any("file-000.mp4 has no frame for step 5, left out (episode 0)" in note for note in report.notes)


def test_frames_that_two_episodes_claim_are_refused_by_name(tmp_path):
    source = write_v3(tmp_path / "v3", starts=(0, 0, 12), stops=(6, 6, 19))
    report, dataset = convert(source, tmp_path)
    assert [episode["source_episode"] for episode in dataset.episodes] == [2]
    assert numbers_of(dataset) == list(range(12, 19))
    assert len(report.skipped) == 2
    assert "episode 0: its frames and those of episode 1 overlap in" in report.skipped[0]
    assert "episode 1: its frames and those of episode 0 overlap in" in report.skipped[1]


def test_from_timestamps_that_are_one_frame_off_are_caught(tmp_path):
    """No overlap, and a frame for every step; but the lengths say that the frames belong elsewhere."""
    source = write_v3(tmp_path / "v3", starts=(0, 7, 12), stops=(6, 12, 19))
    report, _ = convert(source, tmp_path)
    assert len(report.skipped) == 1
    assert "episode 1" in report.skipped[0]


def test_where_it_cannot_be_told_which_frames_are_meant_nothing_is_stored(tmp_path):
    """The first steps were cut away, the video was not."""
    source = write_v2(tmp_path / "v2", lambda e: {"times": 0.3 + np.arange(LENGTHS[e]) / FPS})
    write_video(source / f"videos/{CAM}/episode_000001.mp4", range(10))
    report, _ = convert(source, tmp_path)
    assert report.num_episodes == 2
    assert "has 10 frames for 6 steps, and timestamp begins at 0.3 s: which frame belongs to which" in report.skipped[0]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_a_video_that_ends_early_costs_the_last_steps_and_it_is_said(tmp_path, version):
    if version == "v2":
        source = write_v2(tmp_path / "v2")
        write_video(source / f"videos/{CAM}/episode_000002.mp4", range(12, 18))
        file = f"videos/{CAM}/episode_000002.mp4"
    else:
        source = write_v3(tmp_path / "v3", frames=sum(LENGTHS) - 1)
        file = f"videos/{CAM}/file-000.mp4"
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(18))
    assert dataset.array("action")[-1].tolist() == np.array([17.1, -4.9], np.float32).tolist()
    assert report.notes == (f"{source / file} has no frame for step 6, left out (episode 2)",)
    assert dataset.episodes[2]["import_notes"] == [f"{source / file} has no frame for step 6, left out"]


def test_what_was_cut_is_remembered_when_an_interrupted_import_goes_on(tmp_path):
    source = write_v2(tmp_path / "v2")
    write_video(source / f"videos/{CAM}/episode_000000.mp4", range(5))
    write_video(source / f"videos/{CAM}/episode_000002.mp4", range(12, 18))

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path, progress=interrupt)
    report, dataset = convert(source, tmp_path, resume=True)
    assert numbers_of(dataset) == [*range(5), *range(6, 18)]
    assert [note.rpartition("/")[2] for note in report.notes] == [
        "episode_000000.mp4 has no frame for step 5, left out (episode 0)",
        "episode_000002.mp4 has no frame for step 6, left out (episode 2)",
    ]


def test_short_videos_can_cost_the_whole_episode_instead(tmp_path):
    source = write_v2(tmp_path / "v2")
    write_video(source / f"videos/{CAM}/episode_000001.mp4", range(6, 10))
    report, dataset = convert(source, tmp_path, short_videos="skip")
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    assert "episode_000001.mp4 has no frame for steps 4 to 5; --short-videos cut keeps the others" in report.skipped[0]


def test_an_option_for_videos_is_refused_where_there_are_none(tmp_path):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(colours(n))))
    with pytest.raises(ConfigError, match=r"--short-videos skip: .*v2 holds no videos; leave it out"):
        convert(source, tmp_path, short_videos="skip")


def test_more_than_a_second_is_not_cut_off(tmp_path):
    source = write_v2(tmp_path / "v2", fps=2)  # six steps are three seconds
    for e in range(3):
        table = rows(e, np.arange(LENGTHS[e]) / 2)
        parquet.write_table(table, source / f"data/chunk-000/episode_{e:06d}.parquet")
        write_video(source / f"videos/{CAM}/episode_{e:06d}.mp4", range(3), rate=2)
    with pytest.raises(DatasetError, match=r"has no frame for steps 3 to 5 of 6: too much to cut off"):
        convert(source, tmp_path)
