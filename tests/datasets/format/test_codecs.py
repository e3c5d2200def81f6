import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.codecs import JpegCodec, PngCodec, codec_from_config


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9).map(lambda s: (*s, 3))))
def test_png_is_lossless_for_colour(image):
    assert (PngCodec().decode(PngCodec().encode(image)) == image).all()


@given(hnp.arrays(np.uint16, (5, 7), elements=st.integers(0, 65535)))
def test_png_is_lossless_for_depth(depth):
    decoded = PngCodec().decode(PngCodec().encode(depth))
    assert decoded.dtype == np.uint16
    assert (decoded == depth).all()


def test_jpeg_keeps_channel_order_and_full_chroma():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2] = (255, 0, 0)
    image[:, 1::2] = (0, 0, 255)
    decoded = JpegCodec(95).decode(JpegCodec(95).encode(image)).astype(int)
    assert np.abs(decoded - image).max() < 40  # 4:2:0 would blur red and blue columns into purple, 127 off
    halved = JpegCodec(95, "420")
    assert np.abs(halved.decode(halved.encode(image)).astype(int) - image).max() > 100


def test_jpeg_loss_is_small_on_smooth_pictures(world):
    image = world.image(3, 96, 96)
    for encode_as in (image, image[None]):
        decoded = JpegCodec(95).decode(JpegCodec(95).encode(encode_as))
        mse = np.mean((decoded.astype(float) - image) ** 2)
        assert 10 * np.log10(255**2 / mse) > 40


def test_plain_numcodecs_finds_our_codecs_by_imagecodecs_ids(world):
    data = JpegCodec().encode(world.image(0))
    config = {"id": "imagecodecs_jpeg", "level": 95, "subsampling": "444", "optimize": None, "smoothing": None}
    assert (numcodecs.get_codec(config).decode(data) == JpegCodec().decode(data)).all()
    assert codec_from_config(JpegCodec(80).get_config()).level == 80


@pytest.mark.parametrize("codec", [JpegCodec(), PngCodec()])
@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" + b])
def test_damaged_images_are_refused(world, codec, damage):
    with pytest.raises(DatasetError, match="bytes of an image"):
        codec.decode(damage(codec.encode(world.image(1))))


def test_decoding_into_a_buffer_gives_the_same_pixels(world):
    image = world.image(1)
    for codec in (JpegCodec(90, "420"), PngCodec()):
        for sample in (image, image[..., :1]):
            data = codec.encode(sample)
            out = np.full((3, *sample.shape), 7, sample.dtype)
            codec.decode_into(data, out[1])
            assert (out[1].reshape(codec.decode(data).shape) == codec.decode(data)).all()
            assert (out[[0, 2]] == 7).all()


def test_both_jpeg_decoders_give_the_same_pixels(world, monkeypatch):
    pytest.importorskip("simplejpeg")
    data = [JpegCodec(q, s).encode(world.image(k)) for k, (q, s) in enumerate([(95, "444"), (90, "420"), (70, "422")])]
    data.append(JpegCodec().encode(world.image(0)[..., 0]))
    fast = [JpegCodec().decode(each) for each in data]
    monkeypatch.setattr("robolearn.datasets.format.codecs.simplejpeg", None)
    assert all((JpegCodec().decode(each) == image).all() for each, image in zip(data, fast, strict=True))
    monkeypatch.setattr("robolearn.datasets.format.codecs.RGB_FLAG", None)  # OpenCV before 4.10
    assert all((JpegCodec().decode(each) == image).all() for each, image in zip(data, fast, strict=True))


@pytest.mark.parametrize("decoder", ["simplejpeg", "opencv"])
@pytest.mark.parametrize("codec", [JpegCodec(), PngCodec()])
def test_an_image_of_another_size_is_refused_before_it_is_decoded(world, codec, decoder, monkeypatch):
    if decoder == "opencv":
        monkeypatch.setattr("robolearn.datasets.format.codecs.simplejpeg", None)
    monkeypatch.setattr(type(codec), "_decode", lambda *_: pytest.fail("decoded"))
    data = bytearray(codec.encode(world.image(1)))
    at = data.index(b"\xff\xc0") + 5 if isinstance(codec, JpegCodec) else 18
    data[at : at + 2] = (60000).to_bytes(2, "big")  # the height, or for PNG the width
    with pytest.raises(DatasetError, match=r"hold one of shape \(.*60000.*, expected \(24, 32, 3\)"):
        codec.decode_into(bytes(data), np.empty((24, 32, 3), np.uint8))


@pytest.mark.parametrize("codec", [JpegCodec(), PngCodec()])
@pytest.mark.parametrize("keep", [2, 8, 20, 30])
def test_headers_that_end_early_are_refused(world, codec, keep):
    data = codec.encode(world.image(1))
    with pytest.raises(DatasetError, match="bytes of an image"):
        codec.decode(data[:keep] + codec.end)


def test_a_png_chunk_longer_than_the_file_is_refused_before_it_is_decoded(world, monkeypatch):
    monkeypatch.setattr(PngCodec, "_decode", lambda *_: pytest.fail("decoded"))
    data = bytearray(PngCodec().encode(world.image(1)))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (2**31 - 1).to_bytes(4, "big")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        PngCodec().decode(bytes(data))
