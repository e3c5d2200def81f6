import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.cli.main import main
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "d.zarr"
    with DatasetWriter.create(path, features([Feature("action", (2,), unit="m")]), 20, {"robot": "panda"}) as writer:
        for episode, success in enumerate((True, False, True)):
            writer.start_episode()
            for k in range(10):
                late = 0.004 if k == 5 else 0.0
                writer.append(0.05 * k + late, {"action": np.array([k, episode], np.float32)})
            writer.commit({"task": "lift", "success": success, "late_ticks": 1})
        writer.start_episode()
        writer.append(0.0, {"action": np.zeros(2, np.float32)})
    return path


def test_info_describes_a_dataset(dataset, capsys):
    assert main(["dataset", "info", str(dataset), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["episodes"], info["steps"], info["fps"]) == (3, 30, 20)
    assert info["duration_s"] == pytest.approx(3 * 0.45)
    assert info["success"] == {"yes": 2, "no": 1, "unknown": 0}
    assert info["tasks"] == {"lift": 3}
    assert (info["late_ticks"], info["pending"]) == (3, 1)
    assert info["timing"]["median_s"] == pytest.approx(0.05)
    assert info["timing"]["max_s"] == pytest.approx(0.054)
    (action,) = info["features"]
    assert (action["min"], action["max"], action["unit"]) == ([0, 0], [9, 2], "m")
    files = sum(p.stat().st_size for p in dataset.rglob("*") if p.is_file())
    assert info["size_bytes"] == files
    assert main(["dataset", "info", str(dataset)]) == 0
    text = capsys.readouterr().out
    for part in ("30 (1.4 s)", "2 yes, 1 no", "lift  (3 episodes)", "0 to 9", "1 episode recorded but not saved"):
        assert part in text


def test_info_of_an_empty_dataset(tmp_path, capsys):
    DatasetWriter.create(tmp_path / "e.zarr", features([Feature("action", (2,))]), 20).close()
    assert main(["dataset", "info", str(tmp_path / "e.zarr")]) == 0
    assert "steps      0" in capsys.readouterr().out


def test_convert_then_info(tmp_path, capsys):
    group = zarr.create_group(tmp_path / "buffer.zarr", zarr_format=2)
    group.create_array("data/action", data=np.arange(10, dtype=np.float32).reshape(5, 2))
    group.create_array("meta/episode_ends", data=np.array([2, 5], np.int64))
    arguments = ["--input", str(tmp_path / "buffer.zarr"), "--output", str(tmp_path / "out.zarr")]
    assert main(["dataset", "info", str(tmp_path / "buffer.zarr"), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["format"], described["episodes"], described["fps"]) == ("diffusion_policy_zarr", 2, None)
    assert main(["dataset", "convert", *arguments]) == 2
    assert "--fps" in capsys.readouterr().err
    assert main(["dataset", "convert", *arguments, "--fps", "5", "--rename", "action=command", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_episodes"], report["num_steps"], report["source_format"]) == (2, 5, "diffusion_policy_zarr")
    assert main(["dataset", "info", str(tmp_path / "out.zarr"), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["episodes"], info["fps"], info["features"][0]["name"]) == (2, 5, "command")
    assert main(["dataset", "convert", *arguments, "--fps", "5"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inof"], "Did you mean 'info'"),
        (["info", "/nothing/there.zarr"], "/nothing/there.zarr does not exist"),
        (["info", "/proc/cpuinfo"], "is not in a format that can be read"),
        (["convert", "--input", "/nothing", "--output", "/tmp/x.zarr"], "/nothing does not exist"),
        (["convert", "--input", "a", "--output", "b", "--rename", "x"], "--rename takes KEY=FEATURE, found x"),
        (["convert", "--input", "a", "--output", "b", "--fps", "-1"], "--fps must be positive"),
        (["convert", "--input", "a", "--output", "b", "--image-codec", "gif"], "gif"),
        (["convert", "--input", "a"], "--output"),
    ],
)
def test_mistakes_get_one_line(arguments, message, capsys):
    assert main(["dataset", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_damaged_dataset_is_one_line(dataset, capsys):
    (dataset / "statistics/action/0.0.0").unlink()
    assert main(["dataset", "info", str(dataset)]) == 2
    assert "statistics/action/0.0.0 is missing" in capsys.readouterr().err


def test_help_needs_no_heavy_package():
    code = (
        "import sys; from robolearn.cli.main import main; main(['dataset']); "
        "sys.exit(bool({'torch', 'zarr', 'pyarrow', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "convert" in done.stdout


@pytest.mark.parametrize("name", ["pusht.zarr", "pusht_lerobot_v3"])
def test_info_of_the_real_data(name, capsys):
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data in {SHARED_DATA}")
    assert main(["dataset", "info", str(SHARED_DATA / name), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["episodes"], info["steps"], info["fps"]) == (206, 25650, 10)
