"""Coarse meshes: what is merged, what is kept, and that a model is given back as it was."""

from __future__ import annotations

import mujoco
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robolearn.sim.coarse_meshes import coarse_meshes, merge_vertices

BALL = """
<mujoco>
  <asset>
    <mesh name="ball" builtin="sphere" params="4" scale="0.02 0.02 0.02"/>
    <mesh name="plate" vertex="0 0 0  0.4 0 0  0 0.4 0  0 0 0.4"/>
  </asset>
  <worldbody>
    <body><freejoint/><geom type="mesh" mesh="ball"/></body>
    <geom type="mesh" mesh="plate" pos="0 0 -1"/>
  </worldbody>
</mujoco>
"""


def test_vertices_of_a_cell_become_their_mean_and_collapsed_faces_go():
    vertices = np.array([[0, 0, 0], [0.2, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    kept, merged, places = merge_vertices(vertices, faces, 0.5)
    assert kept.tolist() == [1], "the first face has two corners in one cell"
    assert merged[1].tolist() == [0, 2, 3]
    np.testing.assert_allclose(places, [[0.1, 0, 0], [0.1, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_of_equal_faces_the_first_is_kept():
    vertices = np.array([[0, 0, 0], [0.1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    kept, merged, _ = merge_vertices(vertices, np.array([[0, 2, 3], [3, 1, 2], [2, 0, 3]]), 0.5)
    assert kept.tolist() == [0]
    assert merged[0].tolist() == [0, 2, 3]


def test_cells_smaller_than_the_mesh_change_nothing():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    kept, merged, places = merge_vertices(vertices, faces, 1e-3)
    assert kept.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(merged, faces)
    np.testing.assert_array_equal(places, vertices)


@given(
    arrays.arrays(np.float64, (12, 3), elements=st.floats(-1, 1, width=32)),
    arrays.arrays(np.int64, (20, 3), elements=st.integers(0, 11)),
    st.floats(0.01, 1.0),
)
def test_no_vertex_moves_further_than_a_cell_is_long_and_no_face_is_flat(vertices, faces, cell):
    kept, merged, places = merge_vertices(vertices, faces, cell)
    assert (np.abs(places - vertices) <= cell * (1 + 1e-9)).all()
    np.testing.assert_allclose(places[merged], places[faces])
    assert all(len(set(corners)) == 3 for corners in merged[kept].tolist())
    assert len({tuple(sorted(corners)) for corners in merged[kept].tolist()}) == len(kept)


def test_a_model_is_coarse_inside_and_itself_again_outside():
    model = mujoco.MjModel.from_xml_string(BALL)
    names = ("mesh_face", "mesh_facenum", "mesh_facenormal", "mesh_vert")
    before = {name: getattr(model, name).copy() for name in names}
    ball, plate = model.mesh("ball").id, model.mesh("plate").id
    with coarse_meshes(model):
        assert 20 < model.mesh_facenum[ball] < before["mesh_facenum"][ball] / 2
        assert model.mesh_facenum[plate] == before["mesh_facenum"][plate] == 4
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(model, name), array, err_msg=name)
