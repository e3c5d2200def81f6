import sys
from pathlib import Path

import av
import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.evaluation.run.rollout import RolloutConfig, run_episode
from robolearn.evaluation.run.video import EpisodeVideo, VideoConfig, VideoWriter, banner

sys.path.append(str(Path(__file__).parents[1]))
from tiny_world import LinePolicy, TinyLine


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return stream, frames


def film(path, **rollout):
    env = TinyLine()
    with EpisodeVideo(path, env, 0, VideoConfig(width=160, height=120, hold_s=0.5)) as video:
        result = run_episode(LinePolicy(), env, 0, RolloutConfig(**rollout), on_step=video.add)
        video.finish(result.success)
    return read(path)


def strip_color(frame):
    return np.median(frame[:16].reshape(-1, 3), axis=0)


def test_a_video_is_h264_yuv420p_with_its_index_first(tmp_path):
    stream, _ = film(tmp_path / "a.mp4")
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert stream.average_rate == 20
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is loaded completely


def test_a_successful_episode_turns_its_strip_from_grey_to_green(tmp_path):
    _, frames = film(tmp_path / "a.mp4")
    assert len(frames) == 11 + 10  # start, ten steps, half a second at 20 Hz
    red, green, blue = strip_color(frames[0])
    assert max(red, green, blue) - min(red, green, blue) < 30
    for frame in frames[10:]:
        red, green, blue = strip_color(frame)
        assert green > red + 60
        assert green > blue + 40


def test_a_failed_episode_ends_under_a_red_strip(tmp_path):
    _, frames = film(tmp_path / "a.mp4", max_steps=5)
    red, green, _ = strip_color(frames[-1])
    assert red > green + 100


def test_odd_sizes_are_padded_to_even_ones(tmp_path):
    writer = VideoWriter(tmp_path / "odd.mp4", fps=10)
    for _ in range(3):
        writer.add(np.full((95, 97, 3), 128, np.uint8))
    writer.close()
    _, frames = read(tmp_path / "odd.mp4")
    assert [f.shape for f in frames] == [(96, 98, 3)] * 3


def test_frames_of_two_sizes_are_refused(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", fps=10)
    writer.add(np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"frames of \(96, 96\); found one of \(48, 96\)"):
        writer.add(np.zeros((48, 96, 3), np.uint8))
    writer.discard()


def test_an_episode_that_breaks_leaves_no_file(tmp_path):
    env = TinyLine()

    def broken_episode():
        with EpisodeVideo(tmp_path / "a.mp4", env, 0, VideoConfig()) as video:
            env.reset()
            video.add(env, 0, False)
            raise RuntimeError("unplugged")

    with pytest.raises(RuntimeError):
        broken_episode()
    assert list(tmp_path.iterdir()) == []


def test_the_banner_keeps_the_picture_and_writes_light_text_on_colour():
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    framed = banner(picture, "start 3", "SUCCESS step 87", (22, 128, 61))
    np.testing.assert_array_equal(framed[-240:], picture)
    strip = framed[:-240]
    assert strip.shape[0] % 2 == 0
    for half in (strip[:, :160], strip[:, 160:]):
        assert (half.min(axis=-1) > 200).sum() > 20
