"""The check of imports: an importer that is sabotaged in any way does not get its episodes into a dataset."""

import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.feature import Feature
from robolearn.datasets.convert import registry
from robolearn.datasets.convert.check import LUMA, EpisodeCheck, compare_frame, fitted
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.quantisation import luma_bound
from robolearn.datasets.convert.witness import Claim, Witness
from robolearn.datasets.convert.workers import ReadJob
from robolearn.datasets.format.codecs import JpegCodec, PngCodec
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

for needed in ("pyarrow", "av", "h5py"):
    pytest.importorskip(needed)
import pyarrow  # noqa: E402
from pyarrow import parquet  # noqa: E402

sys.path.append(str(Path(__file__).parents[1]))
from toy_sources import FPS, SIZE, WRITERS, numbers, picture, write_lerobot_v3, write_robomimic  # noqa: E402


@pytest.fixture(scope="module", params=WRITERS)
def source(request, tmp_path_factory):
    """(Path, format) of three episodes with two cameras and float64 actions."""
    path = tmp_path_factory.mktemp("source") / "toy"
    WRITERS[request.param](path)
    return path, "lerobot_v2" if request.param == "embedded" else request.param


def options(name: str, **changes) -> ConvertOptions:
    fps = FPS if name in ("diffusion_policy_zarr", "rlds", "aloha_hdf5") else None
    return ConvertOptions(fps=fps, **changes)


class Sabotaged:
    """A source whose episodes are changed on their way to the engine."""

    def __init__(self, source, change):
        self.source, self.change = source, change

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read_episode(self, index, spool):
        return self.change(self.source, index, spool)


def read(path, name, folder, change):
    """What the engine makes of the first episode: `Checked`, or a DatasetError."""
    given = options(name)
    with opened_twice(name, path, given) as (opened, witness):
        codecs = {n: JpegCodec(90, "420") for n, f in opened.features.items() if f.kind == "image"}
        return ReadJob(name, path, given, folder, codecs).reader(Sabotaged(opened, change), witness).read(0)


@contextlib.contextmanager
def opened_twice(name, path, given):
    """The source and its witness."""
    module = registry.load_converter(name)
    with (
        contextlib.closing(module.open_source(path, given)) as opened,
        contextlib.closing(module.open_witness(path, given)) as witness,
    ):
        yield opened, witness


def next_episode(source, index, spool):
    return source.read_episode(index + 1, spool)  # of the same length


class Recording:
    """Stands in for the spool: keeps what the importer gives, in its order."""

    def __init__(self):
        self.calls = []

    def frames(self):
        return {}

    def __getattr__(self, method):
        return lambda *arguments: self.calls.append((method, arguments))


def next_frame(source, index, spool):
    """Frame k + 1 for step k: what a time or an index that is off by one gives; the last is there twice."""
    recording = Recording()
    episode = source.read_episode(index, recording)
    for camera in dict.fromkeys(arguments[0] for _, arguments in recording.calls):
        calls = [call for call in recording.calls if call[1][0] == camera]
        for method, arguments in [*calls[1:], calls[-1]]:
            getattr(spool, method)(*arguments)
    return replace(episode, frames=spool.frames())


def swapped_cameras(source, index, spool):
    episode = source.read_episode(index, spool)
    first, second = episode.frames
    return replace(episode, frames={first: episode.frames[second], second: episode.frames[first]})


def narrowed(source, index, spool):
    episode = source.read_episode(index, spool)
    return replace(episode, values={n: v.astype(np.float32).astype(np.float64) for n, v in episode.values.items()})


def next_row(source, index, spool):
    episode = source.read_episode(index, spool)
    return replace(episode, values={name: np.roll(v, -1, axis=0) for name, v in episode.values.items()})


def later(source, index, spool):
    episode = source.read_episode(index, spool)
    return replace(episode, timestamps=episode.timestamps + 1 / FPS)


def short(source, index, spool):
    episode = source.read_episode(index, spool)
    values = {name: rows[:-1] for name, rows in episode.values.items()}
    frames = {name: encoded[:-1] for name, encoded in episode.frames.items()}
    states = None if episode.sim_states is None else episode.sim_states[:-1]
    return replace(episode, timestamps=episode.timestamps[:-1], values=values, frames=frames, sim_states=states)


def test_an_honest_import_passes_and_changes_nothing(source, tmp_path):
    path, name = source
    report = convert_dataset(path, tmp_path / "out.zarr", options(name), name)
    dataset = Dataset(tmp_path / "out.zarr")
    assert (report.num_episodes, report.skipped) == (3, ())
    expected = np.concatenate([numbers(e) for e in range(3)])
    if name == "rlds":  # a record holds floats of 32 bits
        expected = expected.astype(np.float32).astype(np.float64)
    assert np.array_equal(dataset.array("action"), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (next_episode, "step 0 of 'action' would be stored as"),
        (next_frame, r"is not the picture that the source holds in .*: it is another one \(their pixels differ by"),
        (swapped_cameras, r"step 0 of 'observation\..*' is not the picture that the source holds"),
        (next_row, r"step 0 of 'action' would be stored as .* the source holds"),
        (later, r"step 0 would be stored at 0\.1 s, by its source it is at 0 s"),
        (short, r"5 steps would be stored, the source counts 6\."),
        (narrowed, r"'action' would be stored as 4500000\.5 \(float64\), the source holds 4500000\.3+ \(float64\)"),
    ],
)
def test_a_sabotaged_importer_is_caught(source, tmp_path, change, said):
    path, name = source
    if name == "rlds" and change is narrowed:
        pytest.skip("a record holds no numbers wider than the 32 bits they are narrowed to")
    outcome = read(path, name, tmp_path, change)
    assert isinstance(outcome, DatasetError)
    start = f"{path}: episode {registry.load_converter(name).open_source(path, options(name)).label(0)}, compared with"
    assert str(outcome).startswith(start)
    assert re.search(said, str(outcome)), outcome


def test_of_another_episode_the_pictures_alone_are_enough(source, tmp_path):
    def frames_of_next(opened, index, spool):
        other = opened.read_episode(index + 1, spool)
        return replace(opened.read_episode(index, Recording()), frames=other.frames)

    path, name = source
    assert "step 0 of 'observation." in str(read(path, name, tmp_path, frames_of_next))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_differs_is_left_out_and_named_the_rest_is_kept(tmp_path, monkeypatch, workers):
    """The mistake is in the source here, so that worker processes make it too: `index` tells another order of rows."""
    write_lerobot_v3(tmp_path / "v3")
    file = tmp_path / "v3/data/file-000.parquet"
    table = parquet.read_table(file)
    index = table["index"].to_numpy().copy()
    index[[7, 8]] = index[[8, 7]]
    parquet.write_table(table.set_column(table.column_names.index("index"), "index", pyarrow.array(index)), file)
    report = convert_dataset(tmp_path / "v3", tmp_path / "out.zarr", ConvertOptions(workers=workers))
    assert [e["source_episode"] for e in Dataset(tmp_path / "out.zarr").episodes] == [0, 2]
    assert len(report.skipped) == 1
    assert "v3: episode 1, compared with the source" in report.skipped[0]


def test_every_format_has_a_witness():
    for name in registry.CONVERTERS:
        assert callable(registry.load_converter(name).open_witness)


def test_a_format_without_a_witness_cannot_be_read(tmp_path, monkeypatch):
    from robolearn.datasets.convert.rlds import reader as rlds

    monkeypatch.delattr(rlds, "open_witness")
    with pytest.raises(ConfigError, match=r"'rlds' \(.*\) lacks open_witness, which every dataset format has; see "):
        registry.load_converter("rlds")


def test_a_feature_of_which_nobody_says_where_it_comes_from_is_refused(tmp_path):
    write_robomimic(tmp_path / "demo.hdf5")
    file, given = tmp_path / "demo.hdf5", ConvertOptions()
    with opened_twice("robomimic_hdf5", file, given) as (opened, witness):
        opened.claims = {name: claim for name, claim in opened.claims.items() if name != "action"}
        with pytest.raises(ConfigError, match="does not say where 'action' comes from"):
            ReadJob("robomimic_hdf5", file, given, tmp_path, {}).reader(opened, witness)


class Numbers(Witness):
    """One episode of three steps; what it holds is given."""

    def __init__(self, times, rows):
        self.given_times, self.given_rows = times, rows

    def episodes(self):
        return [0]

    def length(self, label):
        return 3

    def times(self, label):
        return self.given_times

    def rows(self, label, key):
        return self.given_rows

    def frames(self, label, key, steps):
        return []


@pytest.mark.parametrize(
    ("times", "rows", "said"),
    [
        (np.arange(2.0), np.zeros((3, 2)), "3 steps would be stored, the source has times for 2"),
        (np.arange(3.0), np.zeros((3, 5)), r"'action' has rows of shape \(2,\), the source holds \(3, 5\)"),
        (np.arange(3.0), np.zeros((2, 2)), "'action' would have 3 steps, the source holds 2"),
        (np.arange(3.0), np.full((3, 2), np.nan), "step 0 of 'action' would be stored as 0.0 .* holds nan"),
        (np.arange(3.0), np.full((3, 2), 2**40, np.int64), r"step 0 .* the source holds 1099511627776 \(int64\)"),
    ],
)
def test_a_source_that_does_not_fit_is_a_difference_and_no_crash(times, rows, said):
    action = Feature("action", (2,), kind="action")
    check = EpisodeCheck(Numbers(times, rows), {"action": action}, {"action": Claim(("action",))}, {}, 1.0)
    episode = EpisodeData(np.arange(3.0), {"action": np.zeros((3, 2), np.float32)})
    with pytest.raises(DatasetError, match=said):
        check(0, episode)


PHOTO = Feature("observation.images.top", (SIZE, SIZE, 3), "uint8", "image")


@pytest.mark.parametrize("quality", [30, 75, 90, 95, 100])
@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_a_picture_moved_by_one_pixel_is_another_one(quality, subsampling):
    codec = JpegCodec(quality, subsampling)
    here, there = picture("left", 5), np.roll(picture("left", 5), 1, axis=1)
    compare_frame(codec.encode(here), here, Claim(("top",)), PHOTO, codec)
    with pytest.raises(DatasetError, match="it is another one"):
        compare_frame(codec.encode(there), here, Claim(("top",)), PHOTO, codec)


def test_an_encoder_that_mixes_up_colours_is_caught():
    """The bytes agree, because the mistake is made twice; the luminance does not."""

    class Swapping(JpegCodec):
        def encode(self, buf):
            return super().encode(np.ascontiguousarray(buf[..., ::-1]))

    with pytest.raises(DatasetError, match="its luminance is"):
        compare_frame(Swapping(90).encode(picture("left", 0)), picture("left", 0), Claim(("top",)), PHOTO, Swapping(90))


@given(st.integers(0, 2**32 - 1), st.integers(1, 100), st.sampled_from(["444", "420"]), st.integers(8, 40))
@settings(max_examples=40)
def test_a_jpeg_is_never_further_from_its_picture_than_its_tables_allow(seed, quality, subsampling, side):
    """Noise is the worst a JPEG can get; grey, so that no colour is clipped."""
    rng = np.random.default_rng(seed)
    grey = np.repeat(rng.integers(90, 166, (side, side + 3, 1)), 3, axis=2).astype(np.uint8)
    codec = JpegCodec(quality, subsampling)
    data = codec.encode(grey)
    ours = codec.decode(data).astype(float)
    inside = ((ours > 0) & (ours < 255)).all(axis=2)
    error = ((ours - grey) @ LUMA)[inside]
    assert np.sqrt(np.sum(error**2)) <= luma_bound(data, side, side + 3)


def test_png_is_compared_exactly():
    image = picture("left", 3)
    off = image.copy()
    off[20, 20, 1] ^= 1
    codec = PngCodec()
    compare_frame(codec.encode(image), image, Claim(("top",)), PHOTO, codec)
    with pytest.raises(DatasetError, match="it is another one"):
        compare_frame(codec.encode(off), image, Claim(("top",)), PHOTO, codec)


DEEP = Feature("observation.depth.top", (4, 4), "uint16", "depth")
FLAT = Feature("observation.images.top", (4, 4, 1), "uint8", "image")


@pytest.mark.parametrize(
    ("held", "feature", "survives"),
    [
        (np.arange(16).reshape(4, 4) * 4000, DEEP, True),
        (np.arange(16).reshape(4, 4) * 4000, FLAT, False),
        (np.arange(16, dtype=np.uint16).reshape(4, 4), FLAT, True),
        (np.linspace(0, 1, 16).reshape(4, 4), FLAT, False),
        (np.linspace(-1, 1, 16).reshape(4, 4), FLAT, False),
        (np.linspace(0, 255, 16).reshape(4, 4), FLAT, True),
        (np.linspace(0, 256, 16).reshape(4, 4), FLAT, False),
        (np.zeros((4, 5)), FLAT, False),
    ],
)
def test_a_picture_fits_where_its_values_survive(held, feature, survives):
    if survives:
        assert np.array_equal(fitted(held, feature).reshape(4, 4), np.rint(held))
    else:
        with pytest.raises(DatasetError, match="its (values go from|shape is)"):
            fitted(held, feature)


def test_an_opaque_fourth_channel_says_nothing_and_another_one_does():
    image = picture("left", 0)
    opaque = np.dstack([image, np.full((SIZE, SIZE), 255, np.uint8)])
    assert np.array_equal(fitted(opaque, PHOTO), image)
    opaque[0, 0, 3] = 254
    with pytest.raises(DatasetError, match="its shape is"):
        fitted(opaque, PHOTO)
    assert np.array_equal(fitted(Claim(("top",), channels=3).of_picture(opaque), PHOTO), image)


def test_declared_changes_are_made_to_the_source_before_it_is_compared():
    image = picture("left", 0)
    first = Claim(("top",), axes=(1, 2, 0)).of_picture(image.transpose(2, 0, 1))
    assert np.array_equal(fitted(first, PHOTO), image)
    scaled = Claim(("top",), range=(0.0, 1.0)).of_picture(image / 255.0)
    assert np.array_equal(fitted(scaled, PHOTO, scaled=True), image)
    centred = Claim(("top",), range=(-1.0, 1.0)).of_picture(image / 127.5 - 1.0)
    assert np.array_equal(fitted(centred, PHOTO, scaled=True), image)


def test_a_dataset_that_lost_what_was_checked_does_not_get_its_name(tmp_path, monkeypatch):
    """A writer that stores other rows than it was given is caught before the end."""
    write_robomimic(tmp_path / "demo.hdf5")
    write = DatasetWriter.write_episode

    def careless(self, episode):
        return write(self, replace(episode, values={n: rows + 1 for n, rows in episode.values.items()}))

    monkeypatch.setattr(DatasetWriter, "write_episode", careless)
    with pytest.raises(DatasetError, match=r"does not hold what was read: episode 0 has other rows of 'action'\."):
        convert_dataset(tmp_path / "demo.hdf5", tmp_path / "out.zarr", ConvertOptions())
    assert not (tmp_path / "out.zarr").exists()
