"""Do the readers of other projects open what we export, and read the same values? In their own environments.

    python benchmarks/interop/check_readers.py [--quick] [--readers NAME ...] [--cache FOLDER]
        [--diffusion-policy REPOSITORY]

LeRobot 0.4.4's LeRobotDataset (format v3.0), that of LeRobot 0.3.3 (v2.1), robomimic 0.3.0's SequenceDataset and zarr 2
go through every item of every export of made-up and real data, low-dimensional and images. With a clone of
diffusion_policy its own ReplayBuffer and SequenceSampler do, too. The environments are made under the cache folder on
first use: minutes, and gigabytes for LeRobot 0.4.4. LeRobot's default video decoder (torchcodec) is used where FFmpeg's
libraries are installed, PyAV's always.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import expectations
import numpy as np
import samples
from environments import environment, has

from robolearn.core.process import usable_cores
from robolearn.datasets.convert.engine import convert_dataset
from robolearn.datasets.convert.export.exported_dataset import ExportedDataset
from robolearn.datasets.convert.export.protocol import ExportOptions
from robolearn.datasets.convert.export.registry import export_dataset
from robolearn.datasets.convert.protocol import ConvertOptions
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.evaluation.statistics.figures import Figure, results_file, write_figures

HERE = Path(__file__).resolve().parent
READERS = ("zarr2", "robomimic", "lerobot", "lerobot_v21")
# reader -> format that it reads
LEROBOT = {"lerobot": "lerobot_v3", "lerobot_v21": "lerobot_v2"}


@dataclass
class Tally:
    """Worst numbers of several runs of readers."""

    worst: dict[str, float] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, value: float | None, items: int, pick: Callable[[float, float], float] = max) -> None:
        if value is not None:
            self.worst[name] = pick(value, self.worst.get(name, value))
            self.items[name] = self.items.get(name, 0) + items


def read_with(python: Path, reader: str, *arguments: object) -> dict[str, Any]:
    """What the reader's last line says. Raises SystemExit with its output when it found a difference in structure."""
    command = [str(python), str(HERE / "readers" / reader), *map(str, arguments)]
    # a folder of ours there would stand for Hugging Face's package `datasets`
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def check_lerobot(
    exported: ExportedDataset, name: str, folder: Path, reader: str, python: Path, backends: list[str], tally: Tally
) -> None:
    expected = folder / "expected_lerobot"
    expectations.for_lerobot(exported, expected)
    for video in ("none", "av1", "h264"):
        output = folder / f"{reader}_{video}"
        options = ExportOptions(workers=usable_cores(), video=video)  # type: ignore[arg-type]
        export_dataset(exported.dataset.path, output, LEROBOT[reader], options)
        for backend in backends if video != "none" else backends[:1]:
            report = read_with(python, "lerobot_reader.py", output, expected, backend)
            print(f"{name:6s} {reader} LeRobotDataset {video:5s} {backend:10s}", line(report), flush=True)
            items = report["items"] + report["windows"]
            tally.add(reader, report["max_error"], items)
            tally.add(f"{reader}_image", report["image_max_error"], items)
            if report["video_psnr_db"] is not None and name != "mixed":
                tally.add(f"{reader}_{video}_psnr_db.{name}", report["video_psnr_db"], report["items"], min)
            tally.versions[reader] = report["versions"]


def check_robomimic(exported: ExportedDataset, name: str, folder: Path, python: Path, tally: Tally) -> None:
    expected = folder / "expected_robomimic"
    expectations.for_robomimic(exported, expected)
    for compress in (False, True):
        output = folder / f"compressed_{compress}.hdf5"
        options = ExportOptions(workers=usable_cores(), compress=compress)
        export_dataset(exported.dataset.path, output, "robomimic_hdf5", options)
        report = read_with(python, "robomimic_reader.py", output, expected)
        print(f"{name:6s} SequenceDataset {'gzip' if compress else 'plain':5s}", line(report), flush=True)
        tally.add("robomimic", report["max_error"], report["items"] + report["windows"])
        tally.add("robomimic_image", report["image_max_error"], report["items"])
        tally.versions["robomimic"] = report["versions"]


def check_zarr(
    exported: ExportedDataset, name: str, folder: Path, python: Path, code: Path | None, tally: Tally
) -> None:
    expected = folder / "expected_zarr"
    expectations.for_zarr2(exported, expected)
    for file in ("buffer.zarr", "buffer.zarr.zip"):
        output = folder / file
        export_dataset(exported.dataset.path, output, "diffusion_policy_zarr", ExportOptions(workers=usable_cores()))
        report = read_with(python, "zarr2_reader.py", output, expected, *([code] if code else []))
        reader = "ReplayBuffer" if code else "zarr 2"
        print(f"{name:6s} {reader} {output.suffix[1:]:5s}", line(report), flush=True)
        tally.add("zarr2", report["max_error"], report["items"] + report["windows"])
        tally.versions["zarr2"] = report["versions"]


def check_round_trip(exported: ExportedDataset, name: str, folder: Path, there: str, figure: str, tally: Tally) -> None:
    """Ours -> theirs -> ours, without video: everything has to be equal."""
    before, back = exported.dataset, folder / f"back_{there}"
    convert_dataset(folder / there, back, ConvertOptions(image_codec="png"))
    after = Dataset(back)
    assert after.features == before.features and after.fps == before.fps
    assert np.array_equal(after.episode_ends, before.episode_ends)
    worst = float(np.abs(after.timestamps - before.timestamps).max())
    for key, feature in before.features.items():
        encoded = layout.is_encoded(feature)
        for step in range(before.num_steps if encoded else 1):
            found, wanted = ((d.image(key, step) if encoded else d.array(key)) for d in (after, before))
            worst = max(worst, float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()))
    print(f"{name:6s} there and back {there:22s} max error {worst:g}", flush=True)
    tally.add(figure, worst, before.num_steps)


def line(report: dict[str, Any]) -> str:
    numbers = {k: v for k, v in report.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def their_code(repository: Path, folder: Path) -> tuple[Path, str]:
    """The package `diffusion_policy.common` of a clone, unpacked, and its commit."""
    git = ["git", "-C", str(repository)]
    archive = subprocess.run([*git, "archive", "HEAD", "diffusion_policy/common"], check=True, capture_output=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return folder, commit


def figures(tally: Tally, command: str, notes: dict[str, str]) -> list[Figure]:
    """One figure for each number of the readers that were asked."""
    found = []
    for name, value in tally.worst.items():
        reader = next((reader for reader in (*READERS[::-1], "round_trip") if name.startswith(reader)), "round_trip")
        if "_psnr_db." in name:
            video, sample = name.removeprefix(f"{reader}_").split("_psnr_db.")
            note = f"worst camera of {sample}, against the images as we store them; default quality of {video}"
            found.append(
                Figure(f"interop.{reader}_{video}_psnr_db", value, "dB", tally.items[name], command,
                       config={"variant": sample}, notes=note)
            )  # fmt: skip
            continue
        note = notes["round_trip"] if name.endswith("round_trip") else notes[reader]
        config = {"reader": tally.versions.get(reader, {})}
        found.append(
            Figure(f"interop.{name}_max_error", value, "1", tally.items[name], command, config=config, notes=note)
        )
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS, help="only these; all by default")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "interop")
    parser.add_argument("--diffusion-policy", type=Path, default=None)
    options = parser.parse_args(argv)
    pythons = {name: environment(name, options.cache) for name in options.readers}
    os.environ |= {"HF_HOME": str(options.cache / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    backends = {
        name: ["pyav", *(["torchcodec"] if has(pythons[name], "torchcodec.decoders") else [])]
        for name in LEROBOT if name in pythons
    }  # fmt: skip
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        code, commit = their_code(options.diffusion_policy, folder / "code") if options.diffusion_policy else (None, "")
        made = {"mixed": samples.mixed(folder / "mixed.zarr", (30, 1, 12))}
        for name, data, episodes in (("pusht", "pusht.zarr", 30), ("g1", "g1_lerobot_v21", 1)):
            if not (options.quick and name == "g1"):
                found = samples.real(data, folder / f"{name}.zarr", 2 if options.quick else episodes)
                made |= {name: found} if found else {}
        for name, path in made.items():
            exported, own = ExportedDataset.open(path, None), folder / name
            own.mkdir()
            if "zarr2" in pythons:
                check_zarr(exported, name, own, pythons["zarr2"], code, tally)
                check_round_trip(exported, name, own, "buffer.zarr", "round_trip", tally)
                check_round_trip(exported, name, own, "buffer.zarr.zip", "round_trip", tally)
            if "robomimic" in pythons:
                check_robomimic(exported, name, own, pythons["robomimic"], tally)
                check_round_trip(exported, name, own, "compressed_True.hdf5", "round_trip", tally)
            for reader in backends:
                check_lerobot(exported, name, own, reader, pythons[reader], backends[reader], tally)
                figure = "round_trip" if reader == "lerobot" else f"{reader}_round_trip"
                check_round_trip(exported, name, own, f"{reader}_none", figure, tally)
    command = "python benchmarks/interop/check_readers.py" + (" --quick" if options.quick else "")
    if len(pythons) < len(READERS):
        command += f" --readers {' '.join(pythons)}"
    if not {"zarr2", "robomimic", "lerobot"} <= pythons.keys():
        tally.worst.pop("round_trip", None)  # a figure about all three formats
    data = f"data: {', '.join(made)}"
    notes = {
        "lerobot": f"LeRobot 0.4.4 LeRobotDataset, {' and '.join(backends.get('lerobot', ()))}, every item and "
                   f"windows; {data}",
        "lerobot_v21": f"LeRobot 0.3.3 LeRobotDataset on format v2.1, every item and windows; installed without its "
                       f"dependencies beside torch 2.13 without CUDA, torchvision's VideoReader by PyAV; {data}",
        "robomimic": f"robomimic 0.3.0 SequenceDataset, every item, windows, filter keys; {data}",
        "zarr2": f"zarr 2, diffusion_policy ReplayBuffer {commit[:10] or 'not run'}, folder and zip; {data}",
        "round_trip": f"ours to theirs (LeRobot: images embedded) and back: values, times, images; {data}",
    }  # fmt: skip
    write_figures(results_file("interop", options.quick), figures(tally, command, notes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
