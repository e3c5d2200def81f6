"""One judge a case: it runs what a user would, and compares what came of it with what the case holds.

What is right is said in the README of the cases. Where that allows refusing as well as reading, either will do, but a
refusal names what it is about, and what was read is compared value by value: no note of the importer is believed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fault_cases import truth
from fault_cases.truth import CAMERA, Episode
from fault_cases.verdict import Said, Verdict, convert, leftovers, right, robolearn, wrong
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

Judge = Callable[[Path, Path], Verdict]
LOW = {"observation.state": "observation.state", "action": "action"}
LEROBOT_HZ = ZARR_HZ = 10.0
EPISODE = r"episodes? \d"


def _both_ways(case: Path, scratch: Path, judge: Callable[[Said, Path, bool], Verdict], *more: object) -> Verdict:
    """Convert with the default options, and once more with pictures stored without loss; both have to be right."""
    verdict = wrong("not run")
    for name, options, exact in (("out.zarr", (), False), ("exact.zarr", ("--image-codec", "png"), True)):
        output = scratch / name
        verdict = judge(convert(case, output, *options, *more), output, exact)
        if not verdict.right:
            break
    return verdict


def _lerobot(
    case: Path, scratch: Path, held: dict[int, Episode], named: tuple[str, ...] = (), said_of: tuple[str, ...] = ()
) -> Verdict:
    return _both_ways(
        case, scratch,
        lambda said, out, exact: _read_or_refused(said, out, exact, held, LOW | {CAMERA: CAMERA}, named, said_of),
    )  # fmt: skip


def timestamps_run_on(case: Path, scratch: Path) -> Verdict:
    return _lerobot(case, scratch, truth.lerobot(case), (EPISODE,))


def overlapping_from_timestamp(case: Path, scratch: Path) -> Verdict:
    return _lerobot(case, scratch, truth.lerobot(case), (EPISODE, "frame|overlap"))


def depth16_declared_image(case: Path, scratch: Path) -> Verdict:
    held = truth.lerobot(case)

    def judge(said: Said, output: Path, exact: bool) -> Verdict:
        if not said.done:
            return _refused(said, CAMERA)
        depth = [name for name, feature in Dataset(output).features.items() if feature.dtype == "uint16"]
        if not depth:
            return wrong("the 16-bit pictures are stored in another type")
        return _read_or_refused(said, output, exact, held, LOW | {CAMERA: depth[0]}, (), ("depth",))

    return _both_ways(case, scratch, judge)


def videos_one_frame_short(case: Path, scratch: Path) -> Verdict:
    """Every episode lacks a frame: to leave them all out would be to read nothing."""
    held, named = truth.lerobot(case), ("frame|step", EPISODE)

    def judge(said: Said, output: Path, exact: bool) -> Verdict:
        if not said.done:
            return wrong(f"nothing is read, {said.end}")
        return _read_or_refused(said, output, exact, held, LOW | {CAMERA: CAMERA}, named, named)

    return _both_ways(case, scratch, judge)


def palette_png(case: Path, scratch: Path) -> Verdict:
    return _lerobot(case, scratch, truth.lerobot(case))


def one_grey_frame(case: Path, scratch: Path) -> Verdict:
    """The grey frame is read as the colour that it is, and named; or what is left out is named with its place."""
    held = truth.lerobot(case)
    where: tuple[str, ...] = ()
    for number, episode in held.items():
        for step, picture in enumerate(episode.pictures[CAMERA]):
            if picture.ndim == 2:
                where = (rf"(step|frame|row) {step}\b", rf"\bepisode {number}\b", r"\.parquet")
                episode.pictures[CAMERA][step] = np.repeat(picture[..., None], 3, axis=2)
    assert where, "the case has no grey frame"
    return _lerobot(case, scratch, held, where, where)


def openpi_names(case: Path, scratch: Path) -> Verdict:
    """The names are recognised; they can be set on import; and a dataset that has them wrong can be mended."""
    held = truth.lerobot(case)
    found, named, other, mended = (scratch / f"{name}.zarr" for name in ("found", "named", "other", "mended"))
    verdict = _read_or_refused(
        convert(case, found), found, True, held, {"state": "observation.state", "actions": "action"},
        said_of=("actions", r"\baction\b"),
    )  # fmt: skip
    if not verdict.right:
        return verdict
    joints = tuple(f"joint_{k}" for k in range(7))
    names = ("--names", f"arm={','.join(joints)}")
    said = convert(case, named, "--rename", "actions=arm", "--kind", "arm=action", *names)
    if not said.done:
        return wrong(f"kind and names cannot be set on import: {said.end}")
    said = convert(case, other, "--rename", "actions=arm", "--kind", "arm=state")
    if said.done:
        said = robolearn("dataset", "features", other, "--output", mended, "--kind", "arm=action", *names)
    if not said.done:
        return wrong(f"kind and names cannot be mended afterwards: {said.end}")
    for path, name, labels in ((found, "action", None), (named, "arm", joints), (mended, "arm", joints)):
        feature = Dataset(path).features[name]
        if feature.kind != "action" or (labels and feature.names != labels):
            return wrong(f"{path.name}: {name} is of kind {feature.kind} with the names {feature.names}")
        if (text := truth.compare(path, held, {"actions": name}, LEROBOT_HZ).text) is not None:
            return wrong(f"{path.name}: {text}")
        output = path.with_suffix(".hdf5")
        said = robolearn("dataset", "convert", "--input", path, "--output", output, "--to", "robomimic_hdf5")
        if not said.done:
            return wrong(f"{path.name}: robomimic's export sees no action: {said.end}")
    return verdict


def float_images(case: Path, scratch: Path) -> Verdict:
    held = truth.replay_buffer(case)
    for episode in held.values():
        pictures = episode.columns.pop("img").astype(np.float64)
        episode.pictures["img"] = list(np.rint(255.0 * pictures).astype(np.uint8))
    return _pictures_of_a_buffer(case, scratch, held)


def channels_first(case: Path, scratch: Path) -> Verdict:
    held = truth.replay_buffer(case)
    for episode in held.values():
        episode.pictures["img"] = list(np.moveaxis(episode.columns.pop("img"), 1, -1))
    return _pictures_of_a_buffer(case, scratch, held)


def _pictures_of_a_buffer(case: Path, scratch: Path, held: dict[int, Episode]) -> Verdict:
    def judge(said: Said, output: Path, exact: bool) -> Verdict:
        if not said.done:
            return _refused(said, "img")
        pictures = [name for name, f in Dataset(output).features.items() if f.kind == "image"]
        if not pictures:
            return wrong("the pictures are stored as numbers")
        names = {"state": "observation.state", "action": "action", "img": pictures[0]}
        return _read_or_refused(said, output, exact, held, names, (), ("img",))

    return _both_ways(case, scratch, judge, "--fps", ZARR_HZ)


def one_empty_episode(case: Path, scratch: Path) -> Verdict:
    return _tolerant(case, scratch, ("empty|no step", EPISODE), missing=[1])


def trailing_rows(case: Path, scratch: Path) -> Verdict:
    return _tolerant(case, scratch, (r"\b3 (row|step)s|rows? 9 to 11",), missing=[])


def _tolerant(case: Path, scratch: Path, said_of: tuple[str, ...], missing: list[int]) -> Verdict:
    held = truth.replay_buffer(case)
    said = convert(case, scratch / "out.zarr", "--fps", ZARR_HZ)
    if not said.done:
        return wrong(f"nothing is read, {said.end}")
    found = truth.compare(scratch / "out.zarr", held, {"state": "observation.state", "action": "action"}, ZARR_HZ)
    if found.text or found.cut or found.missing != missing:
        return wrong(found.text or f"episodes {found.missing} are not there, steps cut: {found.cut}")
    return right("the rest is read") if said.names(*said_of) else wrong("what is left out is not named")


def _read_or_refused(
    said: Said, output: Path, exact: bool, held: dict[int, Episode], names: dict[str, str],
    named: tuple[str, ...] = (), said_of: tuple[str, ...] = (),
) -> Verdict:  # fmt: skip
    """Everything that was stored is what the source holds, and what is not there is named.

    Args:
        names: key of the source -> feature.
        named: what a line says of what is not there; empty where nothing may be missing.
        said_of: what a line says although it was read.
    """
    if not said.done:
        return _refused(said, *named) if named else wrong(said.end)
    found = truth.compare(output, held, names, LEROBOT_HZ, exact)
    if found.text:
        return wrong(found.text)
    gone = f"episodes {found.missing} are not there, steps cut: {found.cut}" if found.missing or found.cut else ""
    if gone and not (named and said.names(*named)):
        return wrong(f"{gone}, and {'no line names them' if named else 'nothing need be left out'}")
    if said_of and not said.names(*said_of):
        return wrong(f"no line says {' and '.join(said_of)}; {said.end}")
    return right(f"the rest is read, and it is named that {gone}" if gone else "read as the source has it")


def _refused(said: Said, *named: str) -> Verdict:
    if said.refusal is None:
        return wrong(f"no single line, {said.end}")
    return right("refused by name") if said.names(*named) else wrong(f"refused, but not by name: {said.refusal}")


def scalar_observation(case: Path, scratch: Path) -> Verdict:
    described = features([
        Feature("observation.state", (), "float64"), Feature("observation.environment_state", (2,)),
        Feature("action", (2,), kind="action"),
    ])  # fmt: skip
    with DatasetWriter.create(scratch / "scalar.zarr", described, fps=10, durable=False) as writer:
        for _ in range(3):
            rows = np.linspace(0, 1, 20)
            both = np.stack([rows, 1 - rows], axis=1).astype(np.float32)
            values = {"observation.state": rows, "observation.environment_state": both, "action": both}
            writer.write_episode(EpisodeData(np.arange(20) / 10, values))
    said = robolearn("train", "bc", "--dataset", scratch / "scalar.zarr", "--output", scratch / "run", "--steps", 20,
                     "--batch-size", 8, "--num-threads", 1)  # fmt: skip
    if said.done:
        return right("trains") if (scratch / "run" / "checkpoints").exists() else wrong("no checkpoint was written")
    return _refused(said, r"observation\.state", r"shape")


def uint64(case: Path, scratch: Path) -> Verdict:
    largest = str(Dataset(case).array("u").max())
    for format in ("lerobot_v3", "lerobot_v2"):
        said = robolearn("dataset", "convert", "--input", case, "--output", scratch / format, "--to", format)
        if said.done:
            return wrong(f"{format} holds a number that its reader overflows at")
        verdict = _refused(said, r"'u'", rf"\b{largest[:4]}\d{{{len(largest) - 4}}}\b")
        if not verdict.right or leftovers(scratch):
            return verdict if not verdict.right else wrong(f"{format} left {leftovers(scratch)} behind")
    return right("one line names feature and value")


def no_flock(case: Path, scratch: Path) -> Verdict:
    library = scratch.with_name(f"{scratch.name}.so")
    compiled = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-w", "-o", str(library), str(case)], capture_output=True, text=True, check=False
    )
    if compiled.returncode:
        return wrong(f"the shim does not compile: {compiled.stderr.strip().splitlines()[-1]}")
    said = robolearn("record", "--dataset", scratch / "demos.zarr", "--operator", "scripted", "--num-episodes", 2,
                     "--speed", "max", environment={"LD_PRELOAD": str(library), "SHIM": "flock"})  # fmt: skip
    if said.done:
        checked = robolearn("dataset", "validate", scratch / "demos.zarr")
        return right("records with another lock") if checked.done else wrong(f"what was recorded fails: {checked.end}")
    verdict = _refused(said, "lock")
    return wrong(f"{leftovers(scratch)} stays behind") if verdict.right and leftovers(scratch) else verdict


# case -> (what is in the folder, judge); None for a case without a file
CASES: dict[str, tuple[str | None, Judge]] = {
    "v3_timestamps_run_on": ("v3_timestamps_run_on", timestamps_run_on),
    "v3_overlapping_from_timestamp": ("v3_overlapping_from_timestamp", overlapping_from_timestamp),
    "v3_depth16_declared_image": ("v3_depth16_declared_image", depth16_declared_image),
    "v3_videos_one_frame_short": ("v3_videos_one_frame_short", videos_one_frame_short),
    "v3_palette_png": ("v3_palette_png", palette_png),
    "v3_one_grey_frame": ("v3_one_grey_frame", one_grey_frame),
    "v3_openpi_names": ("v3_openpi_names", openpi_names),
    "zarr_float_images": ("zarr_float_images", float_images),
    "zarr_channels_first": ("zarr_channels_first", channels_first),
    "zarr_one_empty_episode": ("zarr_one_empty_episode", one_empty_episode),
    "zarr_trailing_rows": ("zarr_trailing_rows", trailing_rows),
    "scalar_observation": (None, scalar_observation),
    "ours_uint64": ("ours_uint64.zarr", uint64),
    "no_flock": ("no_flock_shim.c", no_flock),
}
