"""`Clearance`: how far arms are from themselves, from each other and from the plane they stand on.

Between collision geoms; meshes count as their convex hulls, as they do where they collide. Left out are parts of one
arm with at most one of its joints between them (a gripper is one part), or that touch in its home posture because it is
built so, and over the plane what the first joint alone moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mujoco
import numpy as np

from robolearn.kinematics.mounted import MountedRobot, require_prefixes
from robolearn.kinematics.specs import compiled, no_prefix

_TOUCHING_M = 1e-3


class Nearest(NamedTuple):
    """The smallest of some distances, and the two bodies it is between; (inf, "", "") where nothing is near."""

    distance_m: float
    first: str
    second: str


class Distances(NamedTuple):
    """`own`: between parts of one arm; `between`: of two arms; `plane`: of what moves and the plane z = 0 of the world.
    Negative where they overlap, inf where nothing is within the distance asked for."""

    own: Nearest
    between: Nearest
    plane: Nearest

    @property
    def smallest(self) -> Nearest:
        return min(self)


_FAR = Nearest(math.inf, "", "")


class Clearance:
    """See the module's text. It keeps a scratch state: one thread at a time.

    Args:
        arms: where they stand. Raises ConfigError where two of several have one prefix.
    """

    def __init__(self, arms: Sequence[MountedRobot]):
        require_prefixes(arms)
        self.arms = tuple(arms)
        spec = mujoco.MjSpec()
        for arm in arms:
            frame = spec.worldbody.add_frame(pos=arm.position_m, quat=arm.quaternion)
            with no_prefix():
                frame.attach_body(arm.robot.spec().worldbody.first_body(), arm.named(""), "")
        self._model = model = compiled(spec)
        self._data = mujoco.MjData(model)
        self._driven = {arm.prefix: self._addresses(arm, arm.joint_names) for arm in arms}
        self._fingers = {arm.prefix: self._addresses(arm, _fingers(arm)) for arm in arms}
        solid = np.flatnonzero(model.geom_contype)
        roots = model.body_rootid[model.geom_bodyid[solid]]
        depth = self._depths()[model.geom_bodyid[solid]]
        self._moving = [int(g) for g in solid[depth > 1]]
        first, second = np.triu_indices(len(solid), 1)
        same = roots[first] == roots[second]
        self._between = np.stack([solid[first], solid[second]], axis=1)[~same]
        apart = np.abs(depth[first] - depth[second]) > 1
        own = np.stack([solid[first], solid[second]], axis=1)[same & apart]
        self._place({arm.prefix: arm.robot.home_rad for arm in arms}, {})
        self._own = own[[geom_distance(model, self._data, a, b, 1.0) > _TOUCHING_M for a, b in own.tolist()]]

    def at(
        self, joints: Mapping[str, np.ndarray], openings: Mapping[str, float] | None = None, within_m: float = 0.5
    ) -> Distances:
        """At joints (J,) of each arm, by prefix, with grippers as far open as said, else wide."""
        self._place(joints, openings or {})
        return Distances(self._nearest(self._own, within_m), self._nearest(self._between, within_m), self._over_plane())

    def _addresses(self, arm: MountedRobot, names: Sequence[str]) -> list[int]:
        return [int(self._model.joint(arm.named(name)).qposadr[0]) for name in names]

    def _place(self, joints: Mapping[str, np.ndarray], openings: Mapping[str, float]) -> None:
        model, q = self._model, self._data.qpos
        driven: set[int] = set()
        for arm in self.arms:
            q[self._driven[arm.prefix]] = joints[arm.prefix]
            if arm.robot.gripper is not None:
                q[self._fingers[arm.prefix]] = arm.robot.gripper.positions(openings.get(arm.prefix, 1.0))
            driven.update(self._driven[arm.prefix], self._fingers[arm.prefix])
        for follower, driver, ratio in zip(model.eq_obj1id, model.eq_obj2id, model.eq_data[:, 1], strict=True):
            if (place := int(model.jnt_qposadr[follower])) not in driven:
                q[place] = ratio * q[model.jnt_qposadr[driver]]
        mujoco.mj_kinematics(model, self._data)

    def _depths(self) -> np.ndarray:
        """(bodies,) how many joints of its arm are between a body and the base."""
        model = self._model
        joints = {int(model.joint(arm.named(name)).id) for arm in self.arms for name in arm.joint_names}
        depths: np.ndarray = np.zeros(model.nbody, dtype=np.int64)
        for body in range(1, model.nbody):
            first = int(model.body_jntadr[body])
            own = joints.intersection(range(first, first + int(model.body_jntnum[body])))
            depths[body] = depths[model.body_parentid[body]] + len(own)
        return depths

    def _nearest(self, pairs: np.ndarray, within_m: float) -> Nearest:
        """Pairs are looked at from the nearest bounding spheres on, until those are farther than what was found."""
        if not len(pairs):
            return _FAR
        centres, radii = self._data.geom_xpos[pairs], self._model.geom_rbound[pairs]
        bounds = np.linalg.norm(centres[:, 0] - centres[:, 1], axis=1) - radii.sum(axis=1)
        found = _FAR
        for index in np.argsort(bounds):
            limit = min(within_m, found.distance_m)
            if bounds[index] >= limit:
                break
            first, second = (int(geom) for geom in pairs[index])
            if (distance := geom_distance(self._model, self._data, first, second, limit)) < limit:
                found = Nearest(distance, self._body(first), self._body(second))
        return found

    def _over_plane(self) -> Nearest:
        heights = [(self._lowest(geom), geom) for geom in self._moving]
        if not heights:
            return _FAR
        height, geom = min(heights)
        return Nearest(height, self._body(geom), "world")

    def _lowest(self, geom: int) -> float:
        """Height of the lowest point of a geom."""
        model, kind, size = self._model, self._model.geom_type[geom], self._model.geom_size[geom]
        centre, down = float(self._data.geom_xpos[geom, 2]), self._data.geom_xmat[geom, 6:]  # its axes' heights
        types = mujoco.mjtGeom
        if kind == types.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            start = model.mesh_vertadr[mesh]
            return centre + float((model.mesh_vert[start : start + model.mesh_vertnum[mesh]] @ down).min())
        if kind == types.mjGEOM_SPHERE:
            return centre - float(size[0])
        if kind == types.mjGEOM_CAPSULE:
            return centre - float(size[0] + size[1] * abs(down[2]))
        if kind == types.mjGEOM_CYLINDER:
            return centre - float(size[0] * math.hypot(down[0], down[1]) + size[1] * abs(down[2]))
        if kind == types.mjGEOM_ELLIPSOID:
            return centre - float(np.linalg.norm(size * down))
        return centre - float(size @ np.abs(down))  # a box

    def _body(self, geom: int) -> str:
        return str(self._model.body(self._model.geom_bodyid[geom]).name)


def geom_distance(model: mujoco.MjModel, data: mujoco.MjData, first: int, second: int, limit: float) -> float:
    """Between two geoms, negative where they overlap; `limit` where they are farther than that."""
    ends = np.zeros(6)
    distance = float(mujoco.mj_geomDistance(model, data, first, second, limit, ends))
    # where faces are parallel MuJoCo may say 0 beside two points that are apart
    return float(np.linalg.norm(ends[3:] - ends[:3])) if distance == 0.0 else distance


def _fingers(arm: MountedRobot) -> tuple[str, ...]:
    return arm.robot.gripper.joints if arm.robot.gripper is not None else ()
