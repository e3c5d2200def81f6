"""Coarser meshes for pictures: where there is no GPU, a picture costs triangles, not pixels.

Vertices within a cell of a grid become one (Rossignac and Borrel 1993), triangles that collapse or repeat are left
out. The Panda on robosuite's mount has 168,000 triangles and keeps 17,000; in pictures of up to some 200 pixels it
looks the same. Physics never sees the change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco


CELLS, SMALLEST_CELL_M = 20, 0.004  # along the longest side of a mesh


@contextmanager
def coarse_meshes(model: mujoco.MjModel) -> Iterator[None]:
    """Inside, `model` has coarse meshes, to be uploaded by a renderer that is made now; outside, its own again."""
    names = ("mesh_face", "mesh_facenormal", "mesh_facetexcoord", "mesh_facenum", "mesh_vert")
    arrays = {name: getattr(model, name) for name in names}
    own = {name: array.copy() for name, array in arrays.items()}
    try:
        for mesh in range(model.nmesh):
            first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
            faces = slice(first, first + count)
            vertices = slice(model.mesh_vertadr[mesh], model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh])
            cell_m = max(SMALLEST_CELL_M, float(np.ptp(own["mesh_vert"][vertices], axis=0).max()) / CELLS)
            kept, merged, places = merge_vertices(own["mesh_vert"][vertices], own["mesh_face"][faces], cell_m)
            arrays["mesh_vert"][vertices] = places
            arrays["mesh_face"][first : first + len(kept)] = merged[kept]
            for name in ("mesh_facenormal", "mesh_facetexcoord"):
                arrays[name][first : first + len(kept)] = own[name][faces][kept]
            arrays["mesh_facenum"][mesh] = len(kept)
        yield
    finally:
        for name, array in arrays.items():
            array[:] = own[name]


def merge_vertices(vertices: np.ndarray, faces: np.ndarray, cell_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One vertex for each cell of a grid.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex numbers.

    Returns the numbers (K,) of the faces that are kept, all faces (F, 3) with merged vertex numbers, and vertices
    (V, 3) with each one at the mean of its cell.
    """
    cells = np.floor((vertices - vertices.min(axis=0)) / cell_m).astype(np.int64)
    spans = cells.max(axis=0) + 1
    key = (cells[:, 0] * spans[1] + cells[:, 1]) * spans[2] + cells[:, 2]
    _, representative, member = np.unique(key, return_index=True, return_inverse=True)
    counts = np.bincount(member)
    means = np.stack([np.bincount(member, vertices[:, axis]) / counts for axis in range(3)], axis=1)
    merged = representative[member][faces]
    ordered = np.sort(merged, axis=1)
    proper = np.flatnonzero((ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2]))
    number = (ordered[proper, 0] * len(vertices) + ordered[proper, 1]) * len(vertices) + ordered[proper, 2]
    _, once = np.unique(number, return_index=True)
    return proper[np.sort(once)], merged.astype(faces.dtype), means[member].astype(vertices.dtype)
