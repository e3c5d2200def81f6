"""`robolearn dataset merge | split | drop | resample | resize | stats | edit`, as typed."""

import json
from pathlib import Path

import numpy as np
import pytest

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CAMERA = "observation.images.top"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the dataset a.zarr: four episodes of 3 steps at 10 Hz; the current one."""
    monkeypatch.chdir(tmp_path)
    found = features([Feature("action", (2,), unit="m"), Feature(CAMERA, (8, 8, 3), "uint8", "image")])
    with DatasetWriter.create(Path("a.zarr"), found, 10, {"robot": "panda"}, durable=False) as writer:
        for episode in range(4):
            writer.start_episode()
            for k in range(3):
                image = np.full((8, 8, 3), 20 * episode + k, np.uint8)
                writer.append(k / 10, {"action": np.array([k, episode], np.float32), CAMERA: image})
            writer.commit({"task": "lift" if episode < 2 else "push", "success": episode % 2 == 0})
    return tmp_path


def run(*arguments):
    return main(["dataset", *(str(argument) for argument in arguments)])


def test_split_then_merge_gives_back_every_step(folder, capsys):
    assert run("split", "a.zarr", "--output-dir", "parts", "--by", "train=0.5,val=0.5", "--seed", 1) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"Wrote 2 episodes, 6 steps to parts/{name}.zarr." for name in ("train", "val")]
    assert run("merge", "parts/train.zarr", "parts/val.zarr", "--output", "m.zarr", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_episodes"], report["num_steps"], report["output"]) == (4, 12, "m.zarr")
    merged = Dataset("m.zarr")
    assert sorted(merged.array("action")[:, 1].tolist()) == sorted(Dataset("a.zarr").array("action")[:, 1].tolist())
    assert sorted(record["source_episode"] for record in merged.episodes) == [0, 1, 2, 3]


def test_split_by_task_reports_every_part(folder, capsys):
    assert run("split", "a.zarr", "--output-dir", "parts", "--by-task", "--json") == 0
    assert [(r["output"], r["num_episodes"]) for r in json.loads(capsys.readouterr().out)] == [
        ("parts/lift.zarr", 2),
        ("parts/push.zarr", 2),
    ]


def test_edit_then_drop_by_label_and_mask(folder, capsys):
    assert run("edit", "a.zarr", "--episodes", "0-1", "--set", "success=false", "--set", "task=lift it") == 0
    assert 'success = false, task = "lift it" for 2 of 4 episodes' in capsys.readouterr().out
    assert run("edit", "a.zarr", "--mask", "good", "--where", "success=true", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"mask": "good", "episodes": [2]}
    assert run("edit", "a.zarr", "--in-mask", "good", "--set", "notes=well done", "--json") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == [2]
    assert run("split", "a.zarr", "--output-dir", "parts", "--mask", "good") == 0
    assert [Dataset(f"parts/{name}.zarr").num_episodes for name in ("good", "rest")] == [1, 3]
    assert run("drop", "a.zarr", "--output", "d.zarr", "--keep-mask", "good", "--features", CAMERA) == 0
    assert Dataset("d.zarr").array("action").tolist() == [[0, 2], [1, 2], [2, 2]]
    assert run("drop", "a.zarr", "--output", "e.zarr", "--where", "success=false", "--where", "task=push") == 0
    assert [record["source_episode"] for record in Dataset("e.zarr").episodes] == [0, 1, 2]
    assert run("edit", "a.zarr", "--mask", "good", "--remove") == 0
    capsys.readouterr()
    assert run("edit", "a.zarr", "--history") == 0
    lines = capsys.readouterr().out.splitlines()
    for line, told in zip(lines, ("episodes 0-1", "'good' = episodes 2", "well done", "'good' removed"), strict=True):
        assert told in line


def test_resample_and_resize_make_new_datasets(folder, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in Path("a.zarr").rglob("*"))
    assert run("resample", "a.zarr", "--fps", 5, "--output", "half.zarr") == 0
    assert (Dataset("half.zarr").fps, Dataset("half.zarr").num_steps) == (5, 8)
    assert run("resize", "a.zarr", "--image-size", "4x6", "--output", "small.zarr") == 0
    assert Dataset("small.zarr").image(CAMERA, 4).shape == (4, 6, 3)
    assert run("resize", "a.zarr", "--image-size", 4, "--features", CAMERA, "--output", "square.zarr") == 0
    assert Dataset("square.zarr").features[CAMERA].shape == (4, 4, 3)
    assert sorted((p, p.stat().st_mtime_ns) for p in Path("a.zarr").rglob("*")) == before


def test_stats_of_some_episodes(folder, capsys):
    assert run("stats", "a.zarr", "--episodes", "1,-1", "--features", "action", "--json") == 0
    stats = json.loads(capsys.readouterr().out)
    (action,) = stats["features"]
    assert (stats["episodes"], stats["steps"]) == (2, 6)
    assert (action["min"], action["max"], action["q50"]) == ([0, 1], [2, 3], [1, 2])
    assert run("stats", "a.zarr") == 0
    text = capsys.readouterr().out
    assert "4 episodes, 12 steps" in text
    assert f"{CAMERA} red" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "a.zarr", "--output", "x"], "merge needs at least two datasets, found 1"),
        (["merge", "a.zarr", "a.zarr", "--output", "x"], "a.zarr is given twice"),
        (["merge", "a.zarr", "b.zarr", "--output", "x"], "b.zarr does not exist"),
        (["merge", "--output", "x"], "found 0"),
        (["merge", "a.zarr", "b.zarr"], "--output"),
        (["split", "a.zarr", "--output-dir", "x"], "split needs one of --by"),
        (["split", "a.zarr", "--output-dir", "x", "--by-task", "--mask", "m"], "split needs one of --by"),
        (["split", "a.zarr", "--output-dir", "x", "--by", "train=0.9"], "shares must add up to 1, found 0.9"),
        (["split", "a.zarr", "--output-dir", "x", "--by", "train"], "--by takes NAME=SHARE"),
        (["split", "a.zarr", "--output-dir", "x", "--by", "a=0.99,b=0.01"], "no episode is left for part 'b'"),
        (["split", "a.zarr", "--output-dir", "x", "--by", "../a=0.5,b=0.5"], "A part cannot be named '../a'"),
        (["split", "a.zarr", "--output-dir", "x", "--mask", "train"], "Unknown mask 'train'"),
        (["split", "a.zarr", "--output-dir", "a.zarr", "--by-task"], "a.zarr exists already"),
        (["drop", "a.zarr", "--output", "x"], "nothing to leave out"),
        (["drop", "a.zarr", "--output", "x", "--episodes", "4"], "there is no episode 4; the dataset has 0 to 3"),
        (["drop", "a.zarr", "--output", "x", "--episodes", "a-b"], "--episodes takes indices and ranges"),
        (["drop", "a.zarr", "--output", "x", "--where", "sucess=true"], "Did you mean 'success'"),
        (["drop", "a.zarr", "--output", "x", "--where", "success"], "--where takes a condition"),
        (["drop", "a.zarr", "--output", "x", "--features", "acton"], "Did you mean 'action'"),
        (["drop", "a.zarr", "--output", "x", "--keep-mask", "m"], "Unknown mask 'm'"),
        (["drop", "a.zarr", "--output", "a.zarr", "--episodes", "0"], "a.zarr exists already"),
        (["drop", "/proc/cpuinfo", "--output", "x", "--episodes", "0"], "/proc/cpuinfo"),
        (["drop", "a.zarr", "--output", "/proc/x/y", "--episodes", "0"], "Making /proc/x/y"),
        (["resample", "a.zarr", "--output", "x", "--fps", "0"], "--fps must be a positive rate"),
        (["resample", "a.zarr", "--output", "x", "--fps", "fast"], "fast"),
        (["resample", "a.zarr", "--output", "x"], "--fps"),
        (["resize", "a.zarr", "--output", "x", "--image-size", "8 by 8"], "--image-size takes HEIGHTxWIDTH"),
        (["resize", "a.zarr", "--output", "x", "--image-size", "0x8"], "1 to 16384 pixels"),
        (["resize", "a.zarr", "--output", "x", "--image-size", "8", "--features", "action"], "image feature 'action'"),
        (["stats", "nothing.zarr"], "nothing.zarr does not exist"),
        (["stats", "a.zarr", "--mask", "m"], "Unknown mask 'm'"),
        (["stats", "a.zarr", "--where", "num_steps>5"], "no episode is selected"),
        (["edit", "a.zarr"], "edit needs one of --set"),
        (
            ["edit", "a.zarr", "--mask", "m", "--set", "task=x"],
            "found --set and --mask (to edit the episodes of a mask",
        ),
        (["edit", "a.zarr", "--in-mask", "m", "--set", "task=x"], "Unknown mask 'm'; there are no masks yet"),
        (["edit", "a.zarr", "--episodes", "0", "--set", "seed=3"], "'seed' is a fact of the recording"),
        (["edit", "a.zarr", "--set", "task=x"], "needs --episodes, --where or --in-mask"),
        (["edit", "a.zarr", "--episodes", "0", "--set", "task"], "--set takes KEY=VALUE"),
        (["edit", "a.zarr", "--episodes", "0", "--set", "success=maybe"], "'success' must be true, false or null"),
        (["edit", "a.zarr", "--episodes", "0", "--set", "num_steps=3"], "num_steps"),
        (["edit", "a.zarr", "--episodes", "0", "--set", "sucess=true"], "Did you mean 'success'"),
        (["edit", "a.zarr", "--mask", "m", "--remove"], "Unknown mask 'm'"),
        (["edit", "a.zarr", "--remove", "--history"], "--remove needs --mask"),
        (["edit", "a.zarr", "--mask", "a/b", "--episodes", "0"], "a mask cannot be called 'a/b'"),
        (["edit", "memory://a.zarr", "--history"], "memory://a.zarr"),
    ],
)
def test_mistakes_get_one_line_and_change_nothing(folder, arguments, message, capsys):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [p.name for p in folder.iterdir()] == ["a.zarr"]
    assert Dataset("a.zarr").edits == []


def test_datasets_at_urls_are_read_but_not_edited(folder, capsys):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put("a.zarr", "tools/a.zarr", recursive=True)
    url = "memory://tools/a.zarr"
    assert run("drop", url, "--output", "d.zarr", "--episodes", "0") == 0
    made = Dataset("d.zarr")
    assert {record["source_dataset"] for record in made.episodes} == {url}
    assert run("stats", url) == 0
    capsys.readouterr()
    assert run("edit", url, "--episodes", "0", "--set", "task=x") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_tools_on_real_push_t(tmp_path, monkeypatch, capsys):
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data in {SHARED_DATA}")
    monkeypatch.chdir(tmp_path)
    assert run("convert", "--input", SHARED_DATA / "pusht.zarr", "--output", "p.zarr", "--num-episodes", 3) == 0
    assert run("split", "p.zarr", "--output-dir", "parts", "--by", "train=0.67,val=0.33") == 0
    assert run("merge", "parts/val.zarr", "parts/train.zarr", "--output", "m.zarr") == 0
    original, merged = Dataset("p.zarr"), Dataset("m.zarr")
    for new, record in enumerate(merged.episodes):
        assert record["source_dataset"] == str((SHARED_DATA / "pusht.zarr").resolve())
        ours, theirs = merged.read_episode(new), original.read_episode(record["source_episode"])
        assert np.array_equal(ours.values["action"], theirs.values["action"])
        assert list(ours.frames[CAMERA]) == list(theirs.frames[CAMERA])
    assert run("resample", "p.zarr", "--fps", 5, "--output", "h.zarr") == 0
    half = Dataset("h.zarr")
    assert np.array_equal(half.read_episode(2).values["action"], original.read_episode(2).values["action"][::2])
    assert run("resize", "p.zarr", "--image-size", 48, "--output", "s.zarr") == 0
    old, new = original.image(CAMERA, 100).astype(float), Dataset("s.zarr").image(CAMERA, 100).astype(float)
    assert np.abs(new - old.reshape(48, 2, 48, 2, 3).mean((1, 3))).mean() < 2
    capsys.readouterr()
    assert run("stats", "p.zarr", "--features", "action", "--json") == 0
    (action,) = json.loads(capsys.readouterr().out)["features"]
    assert action["q50"] == pytest.approx(np.median(original.array("action"), axis=0))


def test_features_are_given_other_names_kinds_and_labels(folder, capsys):
    arguments = ("--rename", f"{CAMERA}=observation.images.wrist", "--kind", "action=action", "--names", "action=x,y")
    assert run("features", "a.zarr", "--output", "f.zarr", *arguments) == 0
    assert capsys.readouterr().out == "Wrote 4 episodes, 12 steps to f.zarr.\n"
    made = Dataset("f.zarr")
    assert (made.features["action"].kind, made.features["action"].names) == ("action", ("x", "y"))
    assert made.encoded("observation.images.wrist", 5) == Dataset("a.zarr").encoded(CAMERA, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("features", "--rename", "action"), "--rename takes FEATURE=NAME, found action."),
        (("features", "--rename", "a=b", "--rename", "a=c"), "--rename gives 'a' twice: b and c."),
        (("features", "--names", "action=x,x"), "--names action: every element needs a name of its own, found x,x."),
        (("features", "--range", "action=x"), "--range takes FEATURE=LOW,HIGH, such as img=0,1; found action=x."),
        (("features",), "a.zarr: nothing to change; give --rename, --kind, --names, --layout or --drop."),
        (("features", "--kind", "actoin=action"), "Unknown feature 'actoin'. Did you mean 'action'?"),
        (("unflip", "--at", "action=first"), "--at takes FEATURE=FIRST, such as observation.state=3"),
        (("unflip",), "no quaternion is found in it; --at FEATURE=FIRST says where one is."),
        (("unflip", "--features", "action"), "Unknown vector of at least 4 floats 'action'. Known: none."),
    ],
)
def test_mistakes_with_features_get_one_line(folder, capsys, arguments, message):
    verb, *rest = arguments
    assert run(verb, "a.zarr", "--output", "f.zarr", *rest) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not Path("f.zarr").exists()


def test_quaternions_are_unflipped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    half = np.linspace(0.1, 1.0, 30)
    rows = np.stack([np.cos(half), 0.6 * np.sin(half), 0 * half, 0.8 * np.sin(half)], axis=1).astype(np.float32)
    turned = np.where(np.arange(30) < 9, 1, -1)[:, None] * rows
    found = features([Feature("observation.eef_quat", (4,))])
    with DatasetWriter.create(Path("q.zarr"), found, 10, durable=False) as writer:
        writer.start_episode()
        for k in range(30):
            writer.append(k / 10, {"observation.eef_quat": turned[k].astype(np.float32)})
        writer.commit({})
    assert run("validate", "q.zarr") == 0
    assert "episode 0, observation.eef_quat, step 9: the quaternion elements 0 to 3 turns its sign" in (
        capsys.readouterr().out
    )
    assert run("unflip", "q.zarr", "--output", "u.zarr") == 0
    assert "(elements 0 to 3): 1 of 1 episodes have other signs now" in capsys.readouterr().err
    assert (Dataset("u.zarr").array("observation.eef_quat") == rows).all()
