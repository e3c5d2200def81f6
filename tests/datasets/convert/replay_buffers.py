"""Small replay buffers with the keys of Push-T and UMI."""

import zipfile

import numpy as np
import zarr

ENDS = [4, 9]


def make_source(path, ends=ENDS, **arrays):
    group = zarr.create_group(path, zarr_format=2)
    for key, array in arrays.items():
        group.create_array(f"data/{key}", data=array, chunks=(3, *array.shape[1:]) if array.shape else ())
    group.create_array("meta/episode_ends", data=np.array(ends, np.int64))
    return path


def pusht_arrays(steps=9, image_dtype=np.uint8):
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(0, 256, (steps, 1, 1, 3)), (steps, 96, 96, 3))
    return {
        "state": rng.uniform(0, 512, (steps, 5)).astype(np.float32),
        "action": rng.uniform(0, 512, (steps, 2)).astype(np.float32),
        "keypoint": rng.uniform(0, 512, (steps, 8, 2)).astype(np.float32),
        "img": flat.astype(image_dtype),
        "coverage": rng.uniform(0, 1, steps).astype(np.float32),
    }


def zipped(folder, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


def umi_arrays(robots=1, steps=9):
    rng = np.random.default_rng(0)
    arrays = {}
    for k in range(robots):
        arrays |= {
            f"robot{k}_eef_pos": rng.normal(size=(steps, 3)).astype(np.float32),
            f"robot{k}_eef_rot_axis_angle": rng.normal(size=(steps, 3)).astype(np.float32),
            f"robot{k}_gripper_width": rng.uniform(0, 0.08, (steps, 1)).astype(np.float32),
            f"robot{k}_demo_start_pose": rng.normal(size=(steps, 6)),
            f"robot{k}_demo_end_pose": rng.normal(size=(steps, 6)),
            f"camera{k}_rgb": rng.integers(0, 256, (steps, 32, 32, 3)).astype(np.uint8),
        }
    return arrays
