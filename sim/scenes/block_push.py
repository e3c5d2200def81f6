"""block_push: push two cubes into two targets with a round effector, in the plane; many ways lead there.

A scene of our own after the multimodal block push of BeT and BESO (Shafiullah et al. 2022, Reuss et al. 2023).
Objects: two cubes of 40 mm and 10 g with three times a cube's moment of inertia, which slide and turn on the table but
do not tip; two targets at (0.28, 0.20) and (0.52, 0.20) m, 0.24 m apart, only marked; effector: an upright cylinder,
20 mm across, hanging 0.06 m above the table and moved by a servo.
Start states: cubes at x 0.3..0.5 m, y -0.35..-0.05 m, more than 0.1 m apart in x, turned by any angle; effector at
(0.40, -0.42) m.
A cube has reached a target when its centre has been within 0.05 m of it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError, FeatureError, unknown_name
from robolearn.core.feature import Feature, features
from robolearn.sim.env import SimEnv
from robolearn.sim.physics_state import physics_state, set_physics_state, state_size
from robolearn.sim.rendering import SceneRenderer

CUBE_HALF_M = 0.02
EFFECTOR_RADIUS_M, EFFECTOR_HEIGHT_M = 0.01, 0.06
EFFECTOR_START_M = np.array([0.40, -0.42])
WORKSPACE_LOW_M, WORKSPACE_HIGH_M = np.array([0.10, -0.50]), np.array([0.70, 0.35])
CUBES_LOW_M, CUBES_HIGH_M = np.array([0.30, -0.35]), np.array([0.50, -0.05])
MIN_LATERAL_GAP_M = 0.10
TARGETS_M = np.array([[0.28, 0.20], [0.52, 0.20]])
TOLERANCE_M = 0.05
MAX_STEP_M = 0.035
# what a successful episode saw last is one step before success
GOAL_TOLERANCE_M = TOLERANCE_M + MAX_STEP_M
FIRST_REWARD, BOTH_REWARD = 0.49, 0.51
CAMERAS = ("top",)

_TIMESTEP_S = 0.01
_EVENT_NUMBERS = 8  # two cubes, two targets
_KP, _KV = 1600.0, 80.0  # N/m and N s/m on 1 kg: critically damped, 25 ms
_XY = ("x", "y")
_STATE = Feature("observation.state", (4,), names=(*_XY, "target_x", "target_y"), unit="m", frame="world", rate_hz=10.0)
_CUBES = Feature(
    "observation.environment_state", (4,), names=tuple(f"cube{i}_{a}" for i in (0, 1) for a in _XY),
    unit="m", frame="world", rate_hz=10.0,
)  # fmt: skip
_FROM_EFFECTOR = Feature(
    "observation.block_from_effector", (4,), names=tuple(f"cube{i}_{a}" for i in (0, 1) for a in _XY),
    unit="m", frame="world", rate_hz=10.0,
)  # fmt: skip
_YAW = Feature(
    "observation.block_yaw", (4,), names=tuple(f"{f}_4yaw{i}" for i in (0, 1) for f in ("cos", "sin")),
    frame="world", rate_hz=10.0,
)  # fmt: skip
_ACTION = Feature("action", (2,), kind="action", names=("dx", "dy"), unit="m", frame="world", rate_hz=10.0)


class BlockPush(SimEnv):
    """See the module's text.

    Observations: `observation.state` (4,) effector and where it was told to be [m]; `observation.environment_state`
    (4,) centres of the cubes [m]; `observation.block_from_effector` (4,) the same seen from the effector [m], which
    networks learn to push from much sooner; `observation.block_yaw` (4,) cosine and sine of four times each cube's yaw,
    so that what looks the same is the same; `observation.images.top` when the camera "top" is asked for.
    Action (2,): how far the commanded position moves in this step of 0.1 s [m], at most 0.035 long (longer ones are
    shortened).

    A goal is `observation.environment_state`: it asks for every cube that is in a target in the goal's last step, or
    one action from it, to reach that target; `score` is the share of these that have, the published "result". Without
    a goal, the first cube in any target gives 0.49 and both in different ones 0.51 more, the published "reward".
    `info["reached"]` lists (cube, target) in the order of events, each pair once. `info["mode"]` is the way in which
    both cubes came to different targets, one of four, such as "1>0 0>1": cube 1 to target 0, then cube 0 to target 1.

    What has been reached stays reached for score, reward, mode and, with a goal, `success`, as published. Without a
    goal `success` asks for more: both cubes lie in different targets now. The expert's second push moves the first
    cube out again in about 2 % of its episodes; their ends would be goals for one cube only, so they are no successes.

    Args:
        cameras: () or ("top",).
        image_size: pixels on a side.
        max_steps: actions until truncation.
    """

    evaluation_start: ClassVar[int] = 100_000  # demonstrations may be many
    accepts_goal: ClassVar[bool] = True
    modes: ClassVar[int | None] = 4

    def __init__(self, cameras: tuple[str, ...] = (), image_size: int = 96, max_steps: int = 300):
        for camera in cameras:
            self._check_camera(camera)
        self.name = "block_push"
        self.scene_version = "block_push-1"
        self.control_hz = 10.0
        self.max_steps = max_steps
        self.cameras = tuple(cameras)
        self.video_camera = "top"
        self.image_size = image_size
        images = [
            Feature(f"observation.images.{c}", (image_size, image_size, 3), "uint8", "image", rate_hz=10.0)
            for c in self.cameras
        ]
        self._declare(features([_STATE, _CUBES, _FROM_EFFECTOR, _YAW, *images]), _ACTION)
        self._spec = _compose()
        self.model: mujoco.MjModel = self._spec.compile()
        self.data = mujoco.MjData(self.model)
        self._pictures = SceneRenderer(self.model, mujoco.MjvOption())
        self._substeps = round(1.0 / (self.control_hz * _TIMESTEP_S))
        self._requested: set[tuple[int, int]] | None = None
        self._reached: list[tuple[int, int]] = []
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start state k, scored for `options["goal"]` if there is one.

        Raises ConfigError for a negative or non-integer k, FeatureError for a goal that asks for nothing.
        """
        init_state = self.init_state_of(seed, options)
        goal = self.goal_of(options)
        self._requested = None if goal is None else self._requests(goal)
        super().reset(seed=seed)
        rng = np.random.default_rng([init_state, *self.scene_version.encode()])
        mujoco.mj_resetData(self.model, self.data)
        cubes = self.data.qpos[:8].reshape(2, 4)
        while True:
            cubes[:, :2] = rng.uniform(CUBES_LOW_M, CUBES_HIGH_M, size=(2, 2))
            if abs(cubes[0, 0] - cubes[1, 0]) > MIN_LATERAL_GAP_M:
                break
        cubes[:, 3] = rng.uniform(-np.pi, np.pi, size=2)
        self.data.qpos[8:] = self.data.act[:] = EFFECTOR_START_M
        mujoco.mj_forward(self.model, self.data)
        self._reached = []
        self._steps = 0
        return self._observe(), {**self.task_info(), "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the command for 0.1 s. The reward is what the score gains. Raises FeatureError for a bad action."""
        shift = self.check_action(action).astype(np.float64)
        shift *= min(1.0, MAX_STEP_M / max(float(np.hypot(*shift)), 1e-9))
        before = self._score()
        self.data.ctrl[:] = shift * self.control_hz
        mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._steps += 1
        self._note_reached()
        info = self.task_info()
        return self._observe(), info["score"] - before, info["success"], self._steps >= self.max_steps, info

    def task_info(self) -> dict[str, Any]:
        """`success`, `score`, `mode` and `reached`, now; see the class."""
        score = self._score()
        success = len(set(self._lying().values())) == 2 if self._requested is None else score >= 1.0
        return {"success": success, "score": score, "mode": self._mode(), "reached": tuple(self._reached)}

    def sim_state(self) -> np.ndarray:
        """(S,): MuJoCo's integration state, then four pairs (cube, target) in order of events, -1 where none is."""
        events = np.full(_EVENT_NUMBERS, -1.0)
        events[: 2 * len(self._reached)] = np.ravel(self._reached)
        return np.concatenate([physics_state(self.model, self.data), events])

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Go to a state from `sim_state`; the goal stays. Raises ConfigError for a state of another size."""
        size = state_size(self.model)
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (expected := (size + _EVENT_NUMBERS,)):
            raise ConfigError(
                f"block_push has simulator states of shape {expected}, found {state.shape}: the state comes from "
                "another environment."
            )
        set_physics_state(self.model, self.data, state[:size], self.name)
        self._reached = [(int(cube), int(target)) for cube, target in state[size:].reshape(-1, 2) if cube >= 0]
        self._steps = round(float(self.data.time) * self.control_hz)
        return self._observe()

    def model_xml(self) -> str:
        return self._spec.to_xml()

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """The table from above."""
        self._check_camera(camera)
        # mj_step leaves the places of bodies one step behind
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        return self._pictures.render(self.data, camera, width, height)

    def close(self) -> None:
        self._pictures.close()

    def _observe(self) -> dict[str, np.ndarray]:
        cubes, effector = self.data.qpos[:8].reshape(2, 4), self.data.qpos[8:]
        turn = 4.0 * cubes[:, 3]
        observation = {
            "observation.state": np.concatenate([effector, self.data.act]).astype(np.float32),
            "observation.environment_state": cubes[:, :2].astype(np.float32).reshape(4),
            "observation.block_from_effector": (cubes[:, :2] - effector).astype(np.float32).reshape(4),
            "observation.block_yaw": np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32).reshape(4),
        }
        for camera in self.cameras:
            observation[f"observation.images.{camera}"] = self.render_camera(camera, self.image_size, self.image_size)
        return observation

    def _lying(self) -> dict[int, int]:
        """Cube -> the target it is in now."""
        nearest = {cube: nearest_target(self.data.qpos[4 * cube : 4 * cube + 2]) for cube in (0, 1)}
        return {cube: target for cube, (target, distance) in nearest.items() if distance <= TOLERANCE_M}

    def _note_reached(self) -> None:
        self._reached += [pair for pair in self._lying().items() if pair not in self._reached]

    def _score(self) -> float:
        if self._requested is not None:
            return len(self._requested.intersection(self._reached)) / len(self._requested)
        return FIRST_REWARD * bool(self._reached) + BOTH_REWARD * (self._mode() is not None)

    def _mode(self) -> str | None:
        for event, (cube, target) in enumerate(self._reached):
            if (1 - cube, 1 - target) in self._reached[:event]:
                return f"{1 - cube}>{1 - target} {cube}>{target}"
        return None

    def _requests(self, goal: dict[str, np.ndarray]) -> set[tuple[int, int]]:
        """The pairs (cube, target) that a checked goal asks for. Raises FeatureError when there is no such pair."""
        if _CUBES.name not in goal:
            raise FeatureError(f"A goal of block_push is {_CUBES.name!r}, found: {', '.join(goal)}.")
        places = goal[_CUBES.name][-1].reshape(2, 2).astype(np.float64)
        nearest = [(cube, *nearest_target(place)) for cube, place in enumerate(places)]
        asked = {(cube, target) for cube, target, distance in nearest if distance <= GOAL_TOLERANCE_M}
        if not asked:
            raise FeatureError(
                f"A goal of block_push has a cube in a target, found cubes at {places.round(3).tolist()} m; give the "
                "end of a successful demonstration."
            )
        return asked

    @staticmethod
    def _check_camera(camera: str) -> None:
        if camera not in CAMERAS:
            raise ConfigError(unknown_name("camera of the environment 'block_push'", camera, CAMERAS))


def nearest_target(place_m: np.ndarray) -> tuple[int, float]:
    """Number of the target nearest to (2,) and its distance [m]."""
    distances = np.hypot(*(TARGETS_M - place_m).T)
    target = int(distances.argmin())
    return target, float(distances[target])


def _compose() -> mujoco.MjSpec:
    """qpos: (x, y, z, yaw) of each cube, then x, y of the effector; act: the effector's commanded x, y."""
    spec = mujoco.MjSpec()
    spec.modelname = "block_push"
    spec.compiler.degree = False
    spec.option.timestep = _TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.4] * 3
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    world = spec.worldbody
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.0, 1.0, 0.1], rgba=[0.86, 0.84, 0.80, 1.0],
        contype=1, conaffinity=2,
    )  # fmt: skip
    world.add_camera(name="top", pos=[0.40, -0.075, 1.05], fovy=46)
    colours = ([0.85, 0.30, 0.20, 1.0], [0.20, 0.42, 0.75, 1.0])
    for i, target in enumerate(TARGETS_M):
        world.add_geom(
            name=f"target{i}", type=cylinder, size=[TOLERANCE_M, 0.0005, 0], pos=[*target, 0.0005],
            rgba=[0.45, 0.70, 0.45, 1.0], contype=0, conaffinity=0,
        )  # fmt: skip
    for i, colour in enumerate(colours):
        cube = world.add_body(name=f"cube{i}")
        # slides and a hinge in place of a free joint: what the policy sees is the whole pose
        for axis, name in enumerate("xyz"):
            cube.add_joint(name=f"cube{i}_{name}", type=slide, axis=np.eye(3)[axis])
        cube.add_joint(name=f"cube{i}_yaw", type=hinge, axis=[0, 0, 1])
        cube.explicitinertial = True
        cube.mass = 0.01
        cube.inertia = [3 * 0.01 * (2 * CUBE_HALF_M) ** 2 / 6] * 3
        cube.add_geom(
            name=f"cube{i}", type=box, size=[CUBE_HALF_M] * 3, pos=[0, 0, CUBE_HALF_M], rgba=colour,
            friction=[1.0, 0.005, 0.0001], contype=2, conaffinity=3,
        )  # fmt: skip
        cube.ipos = [0, 0, CUBE_HALF_M]
    effector = world.add_body(name="effector", pos=[0, 0, EFFECTOR_HEIGHT_M])
    effector.add_geom(
        name="effector", type=cylinder, size=[EFFECTOR_RADIUS_M, EFFECTOR_HEIGHT_M - 0.005, 0], mass=1.0,
        rgba=[0.25, 0.25, 0.28, 1.0], contype=1, conaffinity=2,
    )  # fmt: skip
    for axis, name in enumerate(_XY):
        effector.add_joint(name=f"effector_{name}", type=slide, axis=np.eye(3)[axis])
        servo = spec.add_actuator(name=f"effector_{name}", target=f"effector_{name}")
        servo.trntype = mujoco.mjtTrn.mjTRN_JOINT
        # the control is a speed, the activation the commanded place
        servo.set_to_intvelocity(kp=_KP, kv=_KV)
        servo.actlimited = True
        servo.actrange = [WORKSPACE_LOW_M[axis], WORKSPACE_HIGH_M[axis]]
    return spec
