"""LeRobot's pictures as people store them: other depths and numbers of channels than `info.json` says."""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

pyarrow = pytest.importorskip("pyarrow")
av = pytest.importorskip("av")

sys.path.append(str(Path(__file__).parent))
from odd_sources import (  # noqa: E402
    CAM,
    FPS,
    LENGTHS,
    SIZE,
    STARTS,
    colours,
    convert,
    embedded,
    encoded,
    numbers_of,
    write_v2,
    write_video,
)


def png(colour_type: int, samples: np.ndarray, palette: bytes = b"") -> bytes:
    """A PNG of `(H, W, samples a pixel)` of 8 bits, also of the kinds that OpenCV cannot write."""
    raw = b"".join(b"\0" + row.tobytes() for row in samples)
    size = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 8, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"PLTE", palette), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    chunks = [chunk for chunk in chunks if chunk[0] != b"PLTE" or palette]
    body = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def palette_png(image: np.ndarray) -> bytes:
    flat, places = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    return png(3, places.astype(np.uint8).reshape(image.shape[:2]), flat.tobytes())


@pytest.mark.parametrize("codec", ["png", "jpeg"])
def test_palette_pngs_are_read(tmp_path, codec):
    source = write_v2(tmp_path / "v2", embedded(lambda n: palette_png(colours(n))))
    report, dataset = convert(source, tmp_path, image_codec=codec)
    assert (report.num_episodes, report.skipped) == (3, ())
    error = np.abs(dataset.image(CAM, 9).astype(int) - colours(9))
    assert error.max() == 0 if codec == "png" else error.mean() < 3


def depth(number: int) -> np.ndarray:
    return (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) + 900 * number).astype(np.uint16)


@pytest.mark.parametrize("shape", [(SIZE, SIZE, 1), (SIZE, SIZE, 3)])
def test_grey_of_16_bits_is_depth_whatever_it_is_called(tmp_path, shape):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(depth(n))), shape=shape)
    report, dataset = convert(source, tmp_path)
    feature = dataset.features["observation.depth.cam"]
    assert (feature.kind, feature.dtype, feature.shape) == ("depth", "uint16", (SIZE, SIZE))
    assert all((dataset.image("observation.depth.cam", k) == depth(k)).all() for k in range(19))
    assert report.notes == (
        f"{CAM} is declared an image, but its pictures are grey of 16 bits: carried over as depth (uint16), "
        "without loss",
    )


def test_grey_video_of_more_than_8_bits_is_depth(tmp_path):
    source = write_v2(tmp_path / "v2")
    for e, length in enumerate(LENGTHS):
        with av.open(str(source / f"videos/{CAM}/episode_{e:06d}.mp4"), "w") as container:
            stream = container.add_stream("ffv1", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "gray16le"
            for k in range(length):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(depth(STARTS[e] + k), format="gray16le")))
            container.mux(stream.encode())
    report, dataset = convert(source, tmp_path)
    assert all((dataset.image("observation.depth.cam", k) == depth(k)).all() for k in range(19))
    assert "its pictures are grey of 16 bits: carried over as depth" in report.notes[0]


def test_colours_of_16_bits_become_8_and_it_is_said(tmp_path):
    deep = lambda n: (colours(n).astype(np.uint16) * 257)[..., ::-1]  # noqa: E731
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(deep(n))))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert all((dataset.image(CAM, k) == colours(k)).all() for k in range(19))
    assert report.notes == (f"{CAM}: 16 bits are reduced to 8",)


def test_a_fourth_channel_is_left_out_and_it_is_said(tmp_path):
    def picture(number):
        alpha = np.full((SIZE, SIZE), 100, np.uint8)
        return encoded(np.dstack([colours(number)[..., ::-1], alpha]))

    source = write_v2(tmp_path / "v2", embedded(picture), shape=(SIZE, SIZE, 4))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert all((dataset.image(CAM, k) == colours(k)).all() for k in range(19))
    assert f"{CAM}: pictures have a fourth channel (alpha), which is left out (episodes 0-2)" in report.notes


def test_grey_with_alpha_becomes_grey_and_it_is_said(tmp_path):
    alpha = np.full((SIZE, SIZE), 99, np.uint8)
    cells = embedded(lambda n: png(4, np.dstack([colours(n)[..., 0], alpha])))
    source = write_v2(tmp_path / "v2", cells, shape=(SIZE, SIZE, 1))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert (dataset.image(CAM, 9).reshape(SIZE, SIZE) == colours(9)[..., 0]).all()
    assert report.notes == (f"{CAM}: pictures have a fourth channel (alpha), which is left out (episodes 0-2)",)


def test_a_video_of_an_unknown_codec_costs_its_episode(tmp_path):
    source = write_v2(tmp_path / "v2")
    file = source / f"videos/{CAM}/episode_000000.mp4"
    file.write_bytes(file.read_bytes().replace(b"avc1", b"zzzz"))
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(6, 19))
    assert len(report.skipped) == 1
    assert "episode_000000.mp4 is missing or damaged (its codec is not known)" in report.skipped[0]


def test_colour_video_of_10_bits_becomes_8_and_it_is_said(tmp_path):
    source = write_v2(tmp_path / "v2")
    for e, length in enumerate(LENGTHS):
        file = source / f"videos/{CAM}/episode_{e:06d}.mp4"
        write_video(file, range(STARTS[e], STARTS[e] + length), pix_fmt="yuv444p10le")
    report, dataset = convert(source, tmp_path)
    assert numbers_of(dataset) == list(range(19))
    assert report.notes == (f"{CAM}: video of 10 bits is reduced to 8",)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            lambda: encoded(colours(8)[..., 0]),
            f"it is {SIZE}x{SIZE}, grey of 8 bits, expected {SIZE}x{SIZE}x3 of 8 bits",
        ),
        (lambda: encoded(colours(8))[:-30], "bytes of an image are truncated"),
        (lambda: b"nothing", "7 bytes are neither JPEG nor PNG"),
        (lambda: encoded(colours(8)[:8]), f"it is 8x{SIZE}x3, colour of 8 bits, expected {SIZE}x{SIZE}x3"),
        (lambda: None, "holds neither an image nor the name of a file"),
    ],
)
def test_one_odd_frame_costs_its_episode_and_is_named_with_file_and_step(tmp_path, odd, said):
    source = write_v2(tmp_path / "v2", embedded(lambda n: odd() if n == 8 else encoded(colours(n)[..., ::-1])))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert [episode["source_episode"] for episode in dataset.episodes] == [0, 2]
    assert len(report.skipped) == 1
    file = source / "data/chunk-000/episode_000001.parquet"
    assert report.skipped[0].startswith(f"{source}: episode 1, step 2 ({file}): ")
    assert said in report.skipped[0]
    assert report.skipped[0].count("\n") == 0


def test_a_camera_that_is_grey_all_through_is_carried_over_as_it_is(tmp_path):
    source = write_v2(tmp_path / "v2", embedded(lambda n: encoded(colours(n)[..., 0])))
    report, dataset = convert(source, tmp_path, image_codec="png")
    assert dataset.features[CAM].shape == (SIZE, SIZE, 1)
    assert (dataset.image(CAM, 9).reshape(SIZE, SIZE) == colours(9)[..., 0]).all()
    assert report.notes == (f"{CAM}: info.json says 48x48x3, the pictures are 48x48x1",)
