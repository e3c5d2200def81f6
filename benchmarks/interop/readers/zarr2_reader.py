# mypy: ignore-errors
"""Reads an exported replay buffer with zarr 2 and with diffusion_policy's own ReplayBuffer and SequenceSampler.

    python zarr2_reader.py EXPORT EXPECTED [CODE]

EXPECTED is a folder of one .npy per key, plus episode_ends.json. CODE is a folder with diffusion_policy's package;
without it, zarr 2 only. Prints one line of json.
"""

import json
import sys
from pathlib import Path

import numcodecs
import numpy as np
import zarr

FRAMES, STEPS = 2, 16


def difference(found, want):
    found, want = np.asarray(found), np.asarray(want)
    assert found.shape == want.shape and found.dtype == want.dtype, (found.shape, want.shape, found.dtype, want.dtype)
    return float(np.abs(found.astype(np.float64) - want.astype(np.float64)).max(initial=0.0))


def store_of(export):
    return zarr.ZipStore(export, mode="r") if export.endswith(".zip") else zarr.DirectoryStore(export)


def main(export, expected_folder, code=None):
    expected = {f.stem: np.load(f, mmap_mode="r") for f in Path(expected_folder).glob("*.npy")}
    ends = np.array(json.loads((Path(expected_folder) / "episode_ends.json").read_text()), np.int64)
    root = zarr.group(store=store_of(export))
    assert set(root["data"].keys()) == set(expected), (set(root["data"].keys()), set(expected))
    worst = max(difference(root["data"][key][:], rows) for key, rows in expected.items())
    worst = max(worst, difference(root["meta"]["episode_ends"][:], ends))
    report = {"items": int(ends[-1]), "replay_buffer": False, "windows": 0}
    if code:
        windows, error = with_their_code(export, expected, ends, code)
        report |= {"replay_buffer": True, "windows": windows}
        worst = max(worst, error)
    report["max_error"] = worst
    report["versions"] = {"zarr": zarr.__version__, "numcodecs": numcodecs.__version__, "numpy": np.__version__}
    print(json.dumps(report))


def with_their_code(export, expected, ends, code):
    """Load into memory (numpy and zarr backed), open on disk, and draw every window of their sampler."""
    sys.path.insert(0, code)
    from diffusion_policy.common.replay_buffer import ReplayBuffer
    from diffusion_policy.common.sampler import SequenceSampler

    buffers = [ReplayBuffer.copy_from_store(store_of(export))]
    buffers.append(ReplayBuffer.copy_from_store(store_of(export), store=zarr.MemoryStore()))
    if not export.endswith(".zip"):
        buffers.append(ReplayBuffer.create_from_path(export))
    worst = 0.0
    for buffer in buffers:
        assert buffer.n_episodes == len(ends) and buffer.n_steps == ends[-1]
        worst = max(worst, *(difference(buffer[key][:], rows) for key, rows in expected.items()))
        middle = buffer.get_episode(len(ends) // 2)
        rows = slice(ends[len(ends) // 2 - 1] if len(ends) > 1 else 0, ends[len(ends) // 2])
        worst = max(worst, *(difference(middle[key], expected[key][rows]) for key in expected))
    low = [key for key, rows in expected.items() if rows.ndim == 2]
    sampler = SequenceSampler(buffers[0], STEPS, pad_before=FRAMES - 1, pad_after=STEPS - 1, keys=low)
    starts = np.concatenate([[0], ends[:-1]])
    position = 0
    for start, end in zip(starts, ends, strict=True):
        for first in range(start - FRAMES + 1, end):
            rows = np.clip(np.arange(first, first + STEPS), start, end - 1)
            found = sampler.sample_sequence(position)
            worst = max(worst, *(difference(found[key], expected[key][rows]) for key in low))
            position += 1
    assert position == len(sampler), (position, len(sampler))
    return position, worst


if __name__ == "__main__":
    main(*sys.argv[1:4])
