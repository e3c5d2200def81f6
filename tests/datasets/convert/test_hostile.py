"""Sources that claim what cannot be, or reach for what is not theirs: one line, and no memory or time for the claim."""

import contextlib
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import DatasetError, FeatureError, RobolearnError
from robolearn.core.feature import Feature
from robolearn.datasets.convert import registry
from robolearn.datasets.convert.documents import parsed
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.convert.registry import detect_format
from robolearn.datasets.read.reader import Dataset

for needed in ("pyarrow", "av", "h5py"):
    pytest.importorskip(needed)
import h5py  # noqa: E402
import pyarrow  # noqa: E402
from pyarrow import parquet  # noqa: E402

sys.path.append(str(Path(__file__).parents[1]))
from toy_sources import LENGTHS, write_lerobot_v2, write_lerobot_v3, write_rlds, write_robomimic, write_zarr  # noqa: E402

LEFT = "observation.images.left"
FROM = f"videos/{LEFT}/from_timestamp"


def change_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_column(file, name, values):
    table = parquet.read_table(file)
    parquet.write_table(table.set_column(table.column_names.index(name), name, pyarrow.array(values)), file)


def convert(source, tmp_path, **options):
    report = convert_dataset(source, tmp_path / "out.zarr", ConvertOptions(**options))
    return report, Dataset(tmp_path / "out.zarr")


@pytest.fixture
def version3(tmp_path):
    write_lerobot_v3(tmp_path / "v3")
    return tmp_path / "v3"


# LeRobot


@pytest.mark.parametrize(
    "placeholder", ["{video_key:>9999999999}", "{file_index:0999999999d}", "{video_key!r:{file_index}}"]
)
def test_a_path_of_a_billion_letters_is_refused_before_it_is_made(version3, tmp_path, placeholder):
    change_json(version3 / "meta/info.json", video_path=f"videos/{placeholder}.mp4")
    with pytest.raises(DatasetError, match=r"video_path '.*' has a placeholder that is no plain number"):
        convert(version3, tmp_path)


@pytest.mark.parametrize("key", ["../../../x", "/etc"])
def test_a_feature_that_leads_out_of_the_dataset_is_refused(version3, tmp_path, key):
    info = json.loads((version3 / "meta/info.json").read_text())
    change_json(version3 / "meta/info.json", features=info["features"] | {key: info["features"][LEFT]})
    with pytest.raises(DatasetError, match=f"the feature '{key}' leads out of the dataset"):
        convert(version3, tmp_path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        (FROM, ["a", "b", "c"], "Failed to parse string"),
        (f"videos/{LEFT}/file_index", ["../../x", "0", "0"], "Failed to parse string"),
        ("length", [6, 6, "seven"], None),
        ("episode_index", [None, 1, 2], "an episode without episode_index"),
    ],
)
def test_what_is_no_number_in_the_list_of_episodes_is_damage(version3, tmp_path, column, values, said):
    file = version3 / "meta/episodes/file-000.parquet"
    change_column(file, column, list(map(str, values)) if said is None else values)
    with pytest.raises(DatasetError, match=f"{file.name} is missing or damaged .{said or 'Failed to parse string'}"):
        convert(version3, tmp_path)


@pytest.mark.parametrize("begin", [float("nan"), float("inf")])
def test_an_episode_that_begins_at_no_time_is_left_out_by_name(version3, tmp_path, begin):
    change_column(version3 / "meta/episodes/file-000.parquet", FROM, [begin, 0.6, 1.2])
    report, dataset = convert(version3, tmp_path)
    assert "meta/episodes does not say where the videos of 1 episodes are, they are left out: 0" in report.notes
    assert dataset.num_steps == sum(LENGTHS[1:])


def test_numbers_written_as_texts_are_read(version3, tmp_path):
    change_column(version3 / "meta/episodes/file-000.parquet", "length", list(map(str, LENGTHS)))
    assert convert(version3, tmp_path)[1].num_steps == sum(LENGTHS)


def test_chunks_of_no_episodes_are_damage(tmp_path):
    write_lerobot_v2(tmp_path / "v2", "image")
    change_json(tmp_path / "v2/meta/info.json", chunks_size=0)
    with pytest.raises(DatasetError, match="chunks_size is 0"):
        convert(tmp_path / "v2", tmp_path)


@pytest.mark.parametrize(("fps", "factor"), [(20, 1.0), (10, 1000.0)])
def test_times_that_are_not_those_of_the_rate_are_said(tmp_path, fps, factor):
    """Another rate in info.json, or milliseconds: which of both is wrong cannot be known."""
    write_lerobot_v2(tmp_path / "v2", "image")
    change_json(tmp_path / "v2/meta/info.json", fps=fps)
    for e, length in enumerate(LENGTHS):
        times = np.arange(length, dtype=np.float32) / 10 * factor
        change_column(tmp_path / f"v2/data/episode_{e:06d}.parquet", "timestamp", times.astype(np.float32))
    report, dataset = convert(tmp_path / "v2", tmp_path)
    note = f"by their times steps are {0.1 * factor:.3g} s apart, by the rate of the source ({fps} Hz) {1 / fps:.3g} s"
    assert f"{note} (episodes 0-2)" in report.notes
    assert dataset.episodes[0]["import_notes"] == [note]


def test_an_importer_that_forgets_an_episode_is_noticed(version3, tmp_path, monkeypatch):
    from robolearn.datasets.convert.lerobot import v3 as lerobot_v3

    find = lerobot_v3._find_episodes
    monkeypatch.setattr(lerobot_v3, "_find_episodes", lambda *a: ({k: v for k, v in find(*a)[0].items() if k != 1}, []))
    report, _ = convert(version3, tmp_path)
    assert "1 of the episodes that the source lists are not carried over: 1" in report.notes


@pytest.mark.parametrize("file", ["meta/info.json", "features.json"])
def test_a_document_that_is_nested_too_deeply_is_no_format(tmp_path, file):
    (tmp_path / "a" / file).parent.mkdir(parents=True)
    (tmp_path / "a" / file).write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="not in a format that can be read"):
        detect_format(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "read"), [("links/{}.png", True), ("../elsewhere/{}.png", False), ("{elsewhere}/{}.png", False)]
)
def test_pictures_may_be_links_but_names_do_not_lead_out(tmp_path, name, read):
    source, elsewhere = tmp_path / "v2", tmp_path / "elsewhere"
    write_lerobot_v2(source, "image")
    elsewhere.mkdir()
    (source / "links").mkdir()
    file = source / "data/episode_000000.parquet"
    for k, cell in enumerate(parquet.read_table(file)[LEFT].to_pylist()):
        (elsewhere / f"{k}.png").write_bytes(cell["bytes"])
        (source / f"links/{k}.png").symlink_to(elsewhere / f"{k}.png")
    names = [{"bytes": None, "path": name.format(k, elsewhere=elsewhere)} for k in range(LENGTHS[0])]
    change_column(file, LEFT, names)
    report, _ = convert(source, tmp_path)
    assert report.num_episodes == 2 + read
    assert read or "neither an image nor the name of a file in the dataset" in report.skipped[0]


NASTY = [None, -1, 0, float("inf"), float("nan"), "x", [], {}, 10**30, True, 1.5, "../..", [1]]


def places(node, path=()):
    """Of every value in a document."""
    entries = node.items() if isinstance(node, dict) else enumerate(node[:2]) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def write_export(root, to):
    write_robomimic(root.with_suffix(".hdf5"))
    convert_dataset(root.with_suffix(".hdf5"), root.with_suffix(".ours"))
    export_dataset(root.with_suffix(".ours"), root, to, ExportOptions(video="none"))


DOCUMENTS = {
    "lerobot_v2": (lambda root: write_lerobot_v2(root, "image"), "meta/info.json"),
    "lerobot_v3": (write_lerobot_v3, "meta/info.json"),
    "rlds": (write_rlds, "features.json"),
    "diffusion_policy_zarr": (write_zarr, "data/action/.zarray"),
    "export": (lambda root: write_export(root, "lerobot_v3"), "meta/robolearn.json"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.filterwarnings("ignore")
def test_whatever_stands_in_a_document_is_read_or_refused_in_one_line(tmp_path, name):
    write, document = DOCUMENTS[name]
    write(tmp_path / "source")
    file = tmp_path / "source" / document
    good = file.read_text()
    rng = np.random.default_rng(0)
    every = list(places(json.loads(good)))
    for place in rng.choice(len(every), min(len(every), 25), replace=False):
        value = NASTY[rng.integers(len(NASTY))]
        changed = json.loads(good)
        node = changed
        for key in every[place][:-1]:
            node = node[key]
        node[every[place][-1]] = value
        file.write_text(json.dumps(changed))
        said = [refusal(attempt, tmp_path / "source") for attempt in (describe, open_it)]
        assert not any("\n" in line for line in said), said


def refusal(attempt, source):
    try:
        attempt(source)
    except RobolearnError as error:
        return str(error)
    return ""


def describe(source):
    registry.load_converter(detect_format(source)).describe(source)


def open_it(source):
    name = detect_format(source)
    with contextlib.closing(registry.load_converter(name).open_source(source, ConvertOptions(fps=10.0))) as opened:
        if opened.num_episodes:
            opened.read_episode(0, Nowhere())


class Nowhere:
    """Stands in for the spool."""

    def frames(self):
        return {}

    def __getattr__(self, method):
        return lambda *arguments: None


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_that_json_does_not_have_are_none(number):
    assert parsed(f'{{"a": [{number}, 1.5, 2]}}') == {"a": [None, 1.5, 2]}


@pytest.mark.parametrize("shape", [(10**30,), (2**31, 2**31, 3)])
def test_a_feature_of_more_numbers_than_can_be_counted_is_refused(shape):
    with pytest.raises(FeatureError, match="of more numbers than can be"):
        Feature("a", shape)


def huge_png(side):
    """Black and whole, of one row after the other."""
    compressor = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    data = b"".join([*(compressor.compress(row) for _ in range(side)), compressor.flush()])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def test_a_small_file_of_a_huge_picture_is_not_unpacked(tmp_path):
    write_lerobot_v2(tmp_path / "v2", "image")
    cells = [{"bytes": huge_png(8200), "path": None}] * LENGTHS[0]
    assert len(cells[0]["bytes"]) < 250_000
    change_column(tmp_path / "v2/data/episode_000000.parquet", LEFT, cells)
    report, _ = convert(tmp_path / "v2", tmp_path)
    assert report.num_episodes == 2
    assert "episode 0, step 0" in report.skipped[0]
    assert "an image claims to be 8200x8200; up to 67108864 pixels are read" in report.skipped[0]


# the rate


def test_an_importer_that_takes_another_rate_is_caught(tmp_path, monkeypatch):
    from robolearn.datasets.convert.robomimic.file import Opened

    write_robomimic(tmp_path / "demo.hdf5")
    monkeypatch.setattr(Opened, "fps", property(lambda self: 20.0))
    with pytest.raises(DatasetError, match="20 Hz would be stored, the source says 10 Hz"):
        convert(tmp_path / "demo.hdf5", tmp_path)


@pytest.mark.parametrize("env", [{"env_kwargs": [1]}, {"env_kwargs": {"control_freq": -20}}, [1]])
def test_an_environment_that_is_none_costs_only_itself(tmp_path, env):
    write_robomimic(tmp_path / "demo.hdf5")
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        file["data"].attrs["env_args"] = json.dumps(env)
    report, _ = convert(tmp_path / "demo.hdf5", tmp_path, fps=10.0)
    assert any("env_args is not carried over: it cannot be read" in note for note in report.notes)


@pytest.mark.parametrize("rate", [float("nan"), -50.0, float("inf")])
def test_a_rate_that_is_none_is_named(tmp_path, rate):
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["action"], file["observations/qpos"], file.attrs["fps"] = np.ones((3, 14)), np.ones((3, 14)), rate
    with pytest.raises(DatasetError, match=f"its rate is {rate:g} Hz"):
        convert(tmp_path / "episode_0.hdf5", tmp_path)


# HDF5 whose data is somewhere else


def external_link(file, secret):
    file["data/demo_1/actions"] = h5py.ExternalLink(str(secret), "/x")


def stored_apart(file, secret):
    file.create_dataset("data/demo_1/actions", (6, 2), "u1", external=[(str(secret), 0, 12)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((6, 2), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (6, 2))
    file.create_virtual_dataset("data/demo_1/actions", layout)


@pytest.mark.parametrize("lead", [external_link, stored_apart, virtual])
def test_an_hdf5_file_that_leads_to_another_file_is_refused(tmp_path, lead):
    write_robomimic(tmp_path / "demo.hdf5")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((6, 2))
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        del file["data/demo_1/actions"]
        lead(file, tmp_path / "secret.h5")
    with pytest.raises(
        DatasetError, match=r"data/demo_1/actions leads to another file, .*secret\.h5, which is not read"
    ):
        convert(tmp_path / "demo.hdf5", tmp_path)


def test_links_within_an_hdf5_file_are_followed(tmp_path):
    write_robomimic(tmp_path / "demo.hdf5")
    with h5py.File(tmp_path / "demo.hdf5", "a") as file:
        file["data/demo_1/obs/loop"] = file["data"]
        file.move("data/demo_0/actions", "kept")
        file["data/demo_0/actions"] = h5py.SoftLink("/kept")
    assert convert(tmp_path / "demo.hdf5", tmp_path)[0].num_episodes == 3


def test_a_step_of_a_hundred_gigabytes_is_no_picture(tmp_path):
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["action"], file["observations/qpos"] = np.ones((3, 14)), np.ones((3, 14))
        file.create_dataset("observations/images/top", (3, 10**11), "u1", chunks=(1, 1000))
    report, _ = convert(tmp_path / "episode_0.hdf5", tmp_path)
    assert any(note.startswith("observations/images/top (uint8, shape (3, 100000000000))") for note in report.notes)


# zarr


def test_rows_that_nobody_asks_for_cost_neither_memory_nor_time(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    change_json(tmp_path / "a.zarr/data/action/.zarray", shape=[10**15, 2])
    opened = registry.load_converter("diffusion_policy_zarr").describe(tmp_path / "a.zarr")
    assert "data/action: chunks are missing" in opened.notes
    assert convert(tmp_path / "a.zarr", tmp_path, fps=10.0)[0].num_episodes == 3


def test_chunks_that_cannot_all_be_there_are_not_looked_for_one_by_one(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    change_json(tmp_path / "a.zarr/data/action/.zarray", shape=[19, 10**14], chunks=[4, 1])
    with pytest.raises(DatasetError, match=r"episode 0: chunk data/action/0\.1 is missing"):
        convert(tmp_path / "a.zarr", tmp_path, fps=10.0)


def change_ends(folder, ends):
    import zarr

    group = zarr.open_group(folder, mode="r+", zarr_format=2)
    del group["meta/episode_ends"]
    group.create_array("meta/episode_ends", data=np.array(ends))


def test_an_episode_that_ends_beyond_all_rows_is_left_out(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    change_ends(tmp_path / "a.zarr", [6, 12, 10**14])
    report, dataset = convert(tmp_path / "a.zarr", tmp_path, fps=10.0)
    assert "episode 2: it ends at row 100000000000000, and data/action has 19" in report.skipped[0]
    assert dataset.num_steps == 12


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([6.5, 12.0, 19.0], r"holds 6\.5 at episode 0"),
        ([6.0, float("nan"), 19.0], "holds nan at episode 1"),
        ([[6, 12], [15, 19]], r"is int64 of shape \(2, 2\)"),
    ],
)
def test_ends_of_episodes_that_are_no_rows_are_named(tmp_path, ends, said):
    write_zarr(tmp_path / "a.zarr")
    change_ends(tmp_path / "a.zarr", ends)
    with pytest.raises(DatasetError, match=f"meta/episode_ends {said}"):
        convert(tmp_path / "a.zarr", tmp_path, fps=10.0)
