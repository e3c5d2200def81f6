"""`ArmKinematics`: forward and inverse kinematics of one robot in its own base frame, on MuJoCo's Jacobians.

Inverse kinematics is Levenberg-Marquardt: with e the error of the pose (position in m, rotation vector in rad) and J
the Jacobian of the tool, a step moves the joints by

    pull + J^T (J J^T + lambda^2 I)^-1 (e - J pull),   lambda^2 = max(damping^2, mu |e|^2)

(Wampler 1986; lambda falls with the error, Yamashita and Fukushima 2001; mu rises where the pose gets less nearer than
J promised, and a step that brings nothing is taken back, Marquardt 1963). `pull` goes towards the home posture in the
null space of J, in the first step only. Joints that would leave their range are put on its end, and the step is solved
again for the others.

One solve takes tens of microseconds: the model has the arm's joints only and no geoms, nothing is allocated, and small
sums are scalars.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.core.pins import install_line

try:
    import mujoco
except ModuleNotFoundError as error:  # where layouts are converted nobody else has said so
    raise MissingDependencyError(
        "Kinematics of robots need the package 'mujoco', which is not installed. Install it with: "
        f"{install_line('sim')}"
    ) from error

from robolearn.kinematics.clearance import Clearance, Distances
from robolearn.kinematics.ik import CONVERSION, SEARCH, IKSettings, Solution
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robot import TCP_SITE, Robot
from robolearn.kinematics.specs import compiled

_MU, _MU_HIGHEST = 0.1, 1e9
_SLACK = 1e-4  # the first step may worsen the squared error up to here: moving towards home bends the tool's path


class ArmKinematics:
    """See the module's text. It keeps a scratch state: one thread at a time.

    Args:
        robot: the arm; its files are read.
        settings: of `solve`, where it is given none.

    Attributes:
        home_rad: (J,) posture that redundancy is drawn to.
        limits_rad: (J, 2) lowest and highest joints.
        speeds_rad_s: (J,) highest joint speeds.
    """

    def __init__(self, robot: Robot, settings: IKSettings = CONVERSION):
        self.robot, self.settings = robot, settings
        self.home_rad, self.speeds_rad_s = robot.home_rad, np.array(robot.velocity)
        self._model = model = arm_only(robot)
        self._data = data = mujoco.MjData(model)
        size, self._site = model.nv, model.site(TCP_SITE).id
        self._q = data.qpos  # of joints alone, in their order
        self._position = data.site_xpos[self._site]
        self._rotation = data.site_xmat[self._site].reshape(3, 3)
        self._low, self._high = np.ascontiguousarray(model.jnt_range.T)
        self._full = np.zeros((6, size))
        self._linear, self._angular = self._full[:3], self._full[3:]
        self._free = robot.free == "sideways"
        rows = 5 if self._free else 6
        self._axes = np.zeros((2, 3))  # of rotation that count, where one is free
        self._jacobian = np.zeros((rows, size)) if self._free else self._full
        self._error, self._error_before, self._step_error, self._solved = np.zeros((4, rows))
        self._square = np.zeros((rows, rows))
        self._diagonal = self._square.ravel()[:: rows + 1]
        self._step, self._pull, self._before = np.zeros(size), np.zeros(size), np.zeros(size)
        self._clipped = np.zeros(size)
        self._target = (0.0, 0.0, 0.0)
        self._target_rotation, self._turn = np.eye(3), np.zeros((3, 3))
        self._turn_flat, self._quaternion, self._vector = self._turn.reshape(9), np.zeros(4), np.zeros(3)
        self._errors = (0.0, 0.0)

    @functools.cached_property
    def limits_rad(self) -> np.ndarray:
        return np.stack([self._low, self._high], axis=1)

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the TCP at joints (J,)."""
        self._q[:] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        return self._position.copy(), self._rotation.copy()

    def jacobian(self, joints_rad: np.ndarray) -> np.ndarray:
        """(6, J): velocity of the TCP [m/s] over its angular velocity [rad/s], by joint speeds."""
        self.forward(joints_rad)
        self._find_jacobian()
        return self._full.copy()

    def solve(
        self, start_rad: np.ndarray, position_m: np.ndarray, rotation: np.ndarray, settings: IKSettings | None = None
    ) -> Solution:
        """Joints that bring the TCP to a pose (3,), (3, 3), from joints (J,) near to it.

        A pose out of reach gives the nearest one that was found, said in the solution. Raises ConfigError for numbers
        that are not finite.
        """
        settings = settings or self.settings
        target = (float(position_m[0]), float(position_m[1]), float(position_m[2]))
        self._q[:] = start_rad
        self._target_rotation[:] = rotation
        if not (
            math.isfinite(sum(target)) and math.isfinite(self._q.sum()) and math.isfinite(self._target_rotation.sum())
        ):
            raise ConfigError(
                f"Inverse kinematics of {self.robot.name!r} needs finite numbers, found the position "
                f"{[round(n, 4) for n in target]} and the joints {np.round(self._q, 4).tolist()}."
            )
        self._target = target
        if self._free:
            self._set_axes()
        found = self._descend(settings)
        for start in self._starts(settings.restarts) if not found.reached else ():
            self._q[:] = start
            other = self._descend(settings)
            if other.reached or math.hypot(*other[1:3]) < math.hypot(*found[1:3]):
                found = other
            if found.reached:
                break
        return found

    def search(self, position_m: np.ndarray, rotation: np.ndarray) -> Solution:
        """Joints that bring the TCP to a pose from anywhere: of several such the first found. See `solve`."""
        return self.solve(self.home_rad, position_m, rotation, SEARCH)

    def distances(self, joints_rad: np.ndarray, opening: float = 1.0, within_m: float = 0.5) -> Distances:
        """Between the arm's own links, and to the plane it stands on; of several arms see `Clearance`."""
        return self._clearance.at({"": joints_rad}, {"": opening}, within_m)

    @functools.cached_property
    def _clearance(self) -> Clearance:
        return Clearance((MountedRobot(self.robot),))

    def _descend(self, settings: IKSettings) -> Solution:
        """From the joints in `_q`."""
        q, before, error_before = self._q, self._before, self._error_before
        np.maximum(q, self._low, out=q)
        np.minimum(q, self._high, out=q)
        floor, mu, pulled = settings.damping**2, _MU, settings.rest_gain > 0
        cost = self._measure()
        for _ in range(settings.iterations):
            if self._errors[0] <= settings.position_m and self._errors[1] <= settings.rotation_rad:
                break
            before[:], error_before[:] = q, self._error
            self._find_jacobian()
            if pulled:
                np.subtract(self.home_rad, q, out=self._pull)
                self._pull *= settings.rest_gain
            else:
                self._pull[:] = 0.0
            self._move(max(floor, mu * cost))
            new = self._measure()
            if pulled and new <= max(cost, _SLACK):
                cost, pulled = new, False
                continue
            pulled = False
            # far from a solution the linear model is good: nothing to look at
            gain = 1.0 if new <= 0.25 * cost else self._gain(cost, new)
            if gain > 0.75:
                mu = max(0.2 * mu, _MU)
            elif gain < 0.25:
                mu *= 5.0
            if gain > 1e-3:
                small = cost - new <= 1e-14 * cost
                cost = new
                if small:
                    break
                continue
            q[:] = before
            cost = self._measure()
            if mu > _MU_HIGHEST:
                break
        position, turned = self._errors
        reached = position <= settings.position_m and turned <= settings.rotation_rad
        return Solution(q.copy(), position, turned, reached)

    def _gain(self, cost: float, new: float) -> float:
        """How much of the improvement came true that the Jacobian promised for the last step."""
        left = self._error_before - self._jacobian @ (self._q - self._before)
        promised = cost - float(left @ left)
        return (cost - new) / promised if promised > 0 else 0.0

    def _measure(self) -> float:
        """Bring the model to `_q`; writes the error of its pose and its two sizes, and gives its square."""
        mujoco.mj_kinematics(self._model, self._data)
        x, y, z = self._position.tolist()
        x, y, z = self._target[0] - x, self._target[1] - y, self._target[2] - z
        mujoco.mju_mulMatMatT(self._turn, self._target_rotation, self._rotation)
        mujoco.mju_mat2Quat(self._quaternion, self._turn_flat)
        mujoco.mju_quat2Vel(self._vector, self._quaternion, 1.0)
        turned = self._vector if not self._free else self._axes @ self._vector
        error = self._error
        error[0], error[1], error[2] = x, y, z
        error[3:] = turned
        along, about = x * x + y * y + z * z, sum(n * n for n in turned.tolist())
        self._errors = (math.sqrt(along), math.sqrt(about))
        return along + about

    def _set_axes(self) -> None:
        """Rotations that count where "sideways" is free: about the horizontal tangent, and about the approach axis."""
        x, y, _ = self._target
        far = math.hypot(x, y)
        self._axes[0] = (-y / far, x / far, 0.0) if far > 1e-6 else (0.0, 1.0, 0.0)
        self._axes[1] = self._target_rotation[:, 2]

    def _find_jacobian(self) -> None:
        """At the pose that the model is in."""
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacSite(self._model, self._data, self._linear, self._angular, self._site)
        if self._free:
            self._jacobian[:3] = self._linear
            np.dot(self._axes, self._angular, out=self._jacobian[3:])

    def _move(self, damping: float) -> None:
        """One step of `_q`, by the error and the Jacobian there; joints at the ends of their ranges stay there."""
        q, step, clipped = self._q, self._step, self._clipped
        self._solve_step(self._jacobian, damping)
        q += step
        np.maximum(q, self._low, out=clipped)
        np.minimum(clipped, self._high, out=clipped)
        if (clipped == q).all():
            return
        held: np.ndarray = np.zeros(q.size, dtype=bool)
        wanted = q.copy()
        fixed = np.zeros(q.size)
        for _ in range(q.size):
            leaving: np.ndarray = (clipped != wanted) & ~held
            if not leaving.any():
                break
            held = held | leaving
            fixed[leaving] = (clipped - self._before)[leaving]
            moving = np.where(held, 0.0, self._jacobian)
            rest = self._error - self._jacobian @ fixed
            others = moving.T @ np.linalg.solve(moving @ moving.T + (damping + 1e-12) * np.eye(rest.size), rest)
            wanted = self._before + np.where(held, fixed, others)
            clipped = np.clip(wanted, self._low, self._high)
        q[:] = clipped

    def _solve_step(self, jacobian: np.ndarray, damping: float) -> None:
        np.dot(jacobian, jacobian.T, out=self._square)
        self._diagonal += damping
        mujoco.mju_cholFactor(self._square, 1e-14)
        np.dot(jacobian, self._pull, out=self._step_error)
        np.subtract(self._error, self._step_error, out=self._step_error)
        mujoco.mju_cholSolve(self._solved, self._square, self._step_error)
        np.dot(self._solved, jacobian, out=self._step)
        self._step += self._pull

    def _starts(self, count: int) -> np.ndarray:
        """(count, J) spread over the joints' ranges: multiples of a generalised golden ratio (Roberts 2018)."""
        size = self._low.size
        ratio = 2.0
        for _ in range(60):
            ratio = (1 + ratio) ** (1 / (size + 1))
        steps = ratio ** -np.arange(1.0, size + 1)
        spread = (0.5 + np.outer(np.arange(1.0, count + 1), steps)) % 1.0
        low, high = np.maximum(self._low, -np.pi), np.minimum(self._high, np.pi)
        return low + spread * (high - low)


@functools.lru_cache(maxsize=32)
def arm_only(robot: Robot) -> mujoco.MjModel:
    """The robot's joints from the base to the TCP and nothing else: no fingers, no geoms. A thing to read only.

    Raises ConfigError where the robot's joints are not all that move the TCP, or are not hinges with limits.
    """
    whole = compiled(robot.spec())
    chain, body = [], int(whole.site(TCP_SITE).bodyid[0])
    while body:
        chain.append(body)
        body = int(whole.body_parentid[body])
    spec = mujoco.MjSpec()
    spec.compiler.degree, spec.compiler.fusestatic = False, True
    at, found = spec.worldbody, []
    for body in reversed(chain):
        # no forces here, but the compiler asks for masses
        at = at.add_body(
            pos=whole.body_pos[body], quat=whole.body_quat[body], explicitinertial=True, mass=1.0, inertia=[1.0] * 3
        )
        first = int(whole.body_jntadr[body])
        for joint in range(first, first + int(whole.body_jntnum[body])):
            name = whole.joint(joint).name
            if whole.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE or not whole.jnt_limited[joint]:
                raise ConfigError(f"The joint {name!r} of {robot.name!r} must be a hinge with limits.")
            place, axis, ends = (numbers[joint] for numbers in (whole.jnt_pos, whole.jnt_axis, whole.jnt_range))
            at.add_joint(name=name, pos=place, axis=axis, range=ends, limited=True)
            found.append(name)
    if tuple(found) != robot.joints:
        raise ConfigError(
            f"The tool of {robot.name!r} is moved by the joints {found} of its model, but the robot names "
            f"{list(robot.joints)}."
        )
    site = whole.site(TCP_SITE)
    at.add_site(name=TCP_SITE, pos=site.pos, quat=site.quat)
    return compiled(spec)
