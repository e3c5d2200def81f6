"""Any robosuite 1.5.2 task with Panda arms as one of our environments: `make_env("robosuite/Lift")`.

20 actions a second, 2 ms physics. Actions are absolute TCP targets, executed by robosuite's own operational space
controller (OSC_POSE) with absolute input in the frame of the arm's base. The TCP is robosuite's grip site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Feature, Features, features
from robolearn.core.rotation import POSE_NAMES, matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix
from robolearn.sim.adapters.robosuite_import import import_robosuite
from robolearn.sim.env import SimEnv
from robolearn.sim.rendering import SceneRenderer

MAX_FINGER_M = 0.04
_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
_SEED_SPACE = 0x0B05  # separates our start states from plain `default_rng(k)` streams


@dataclass(frozen=True)
class _Arm:
    """Where one arm is found in the simulation; rebuilt whenever the model is."""

    controller: Any
    gripper: Any
    base_site: int
    tcp_site: int
    joint_qpos: np.ndarray
    finger_qpos: np.ndarray

    @property
    def has_fingers(self) -> bool:
        return self.finger_qpos.size > 0

    @property
    def action_size(self) -> int:
        return len(POSE_NAMES) + int(self.has_fingers)


class RobosuiteEnv(SimEnv):
    """A robosuite task.

    Observations: `observation.state` (10,) TCP position [m], 6-d rotation in the frame of the arm's base, and gripper
    opening in [0, 1]; `observation.environment_state`, robosuite's object state (length and order by task);
    `observation.joint_position` (7,) [rad]; `observation.images.<camera>` for each camera asked for.
    Action (10,): the TCP target in the layout of `observation.state`. The gripper is driven by the sign of
    opening - 0.5, as robosuite's is: above opens, below closes. Tasks without a gripper (Wipe) have 9 elements in
    both; two-arm tasks have both arms' vectors one after the other, with the prefixes `robot0` and `robot1`.

    Start state k seeds all of robosuite's randomness (object sizes, placement, initial joint noise). The option
    `geoms` of `reset` (geom name -> MJCF attributes) replaces shapes in that start state's model; imported
    demonstrations use it to get back the objects that they were recorded with.

    Args:
        task: robosuite's name of the task, `Lift`, `Stack`, `NutAssemblySquare`, ...
        cameras: robosuite's camera names, `agentview`, `robot0_eye_in_hand`, ...
        image_size: pixels on a side.
        max_steps: actions until truncation.
    """

    def __init__(
        self,
        task: str | None = None,
        cameras: tuple[str, ...] = (),
        image_size: int = 84,
        max_steps: int = 500,
    ):
        suite = import_robosuite()
        tasks = sorted(suite.ALL_ENVIRONMENTS)
        if task is None:
            raise ConfigError(f"Name the robosuite task, as in robosuite/Lift. Known: {', '.join(tasks)}.")
        if task not in tasks:
            raise ConfigError(unknown_name("robosuite task", task, tasks))
        self.name = f"robosuite/{task}"
        self.scene_version = f"robosuite-{suite.__version__}"
        self.robots = {"panda": self.scene_version}
        self.control_hz = 20.0
        self.max_steps = max_steps
        self.cameras = tuple(cameras)
        self.image_size = image_size
        self.video_camera = "agentview"
        self._steps = 0
        self._xml = ""
        self._geoms: Mapping[str, Mapping[str, str]] = {}
        self._pictures: SceneRenderer | None = None
        self._suite = suite.make(
            task,
            robots=["Panda", "Panda"] if task.startswith("TwoArm") else "Panda",
            controller_configs=_absolute_pose_control(suite),
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=True,
            control_freq=self.control_hz,
            ignore_done=True,
            seed=0,
        )
        self._suite.set_xml_processor(self._edit_xml)
        self._bind()
        for camera in self.cameras:
            self._check_camera(camera)
        self._declare(self._observation_features(), self._action_feature())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start state k in a newly built model. Raises ConfigError for a bad k or an unknown geom in `geoms`."""
        init_state = self.init_state_of(seed, options)
        super().reset(seed=seed)
        self._geoms = (options or {}).get("geoms") or {}
        # every sampler of robosuite holds this very generator, so its state is set in place
        fresh = np.random.default_rng([_SEED_SPACE, init_state])
        self._suite.rng.bit_generator.state = fresh.bit_generator.state
        self._suite.reset()
        self._steps = 0
        self._bind()
        return self._observe(), {**self.task_info(), "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step. Reward is 1 when the task's success check holds. Raises FeatureError for a bad action."""
        self._suite.step(self._suite_action(self.check_action(action)))
        self._settle()
        self._steps += 1
        info = self.task_info()
        return self._observe(), info["score"], info["success"], self._steps >= self.max_steps, info

    def task_info(self) -> dict[str, Any]:
        """`success` of robosuite's own check, now; `score` is the same as a number."""
        success = bool(self._suite._check_success())
        return {"success": success, "mode": None, "score": float(success)}

    def sim_state(self) -> np.ndarray:
        """(1 + nq + nv,): time, qpos, qvel, as robosuite's own recordings store it."""
        return np.array(self._suite.sim.get_state().flatten(), dtype=np.float64)

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Go to a state from `sim_state`. Raises ConfigError for a state of another size.

        The gripper's command is not part of robosuite's state: it is taken from the measured opening.
        """
        state = np.asarray(state, dtype=np.float64)
        model = self._suite.sim.model
        size = 1 + model.nq + model.nv
        if state.shape != (size,):
            raise ConfigError(
                f"{self.name} has simulator states of {size} numbers, found shape {state.shape}: the state comes from "
                "another task or robot."
            )
        self._suite.sim.set_state_from_flattened(state)
        self._suite.sim.forward()
        for arm in self._arms:
            if arm.has_fingers:
                command = 2 * self._opening(arm) - 1
                arm.gripper.current_action = np.array([command, -command])
        # some tasks note their progress (what has been wiped) while they compute the reward
        self._suite.reward(None)
        return self._observe()

    def model_xml(self) -> str:
        """The model of the current start state as MJCF, with mesh paths as robosuite wrote them."""
        return self._xml

    def object_geoms(self) -> frozenset[str]:
        """Names of the geoms that belong to the task's objects, whose shape may differ between start states."""
        prefixes = tuple(f"{item.name}_" for item in self._suite.model.mujoco_objects)
        names = self._suite.sim.model.geom_names
        return frozenset(name for name in names if name and name.startswith(prefixes))

    @property
    def arm_vector_sizes(self) -> tuple[int, ...]:
        """Elements of `observation.state` and `action` that belong to each arm: 10, or 9 without a gripper."""
        return tuple(arm.action_size for arm in self._arms)

    def base_rotations(self) -> np.ndarray:
        """(arms, 3, 3): from each arm's base frame to the world frame."""
        return np.stack([self._suite.sim.data.site_xmat[arm.base_site].reshape(3, 3) for arm in self._arms])

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """(height, width, 3) uint8 RGB, upright, of simplified meshes without shadows, reflections, multisampling."""
        self._check_camera(camera)
        if self._pictures is None:
            shown = mujoco.MjvOption()
            shown.geomgroup[0] = 0  # collision shapes
            self._pictures = SceneRenderer(self._suite.sim.model._model, shown, coarse=True)
        return self._pictures.render(self._suite.sim.data._data, camera, width, height)

    def close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        self._suite.close()

    def _settle(self) -> None:
        """Bring positions, contacts and velocities in line with qpos and qvel without touching the next step."""
        self._suite.sim.step1()

    def _bind(self) -> None:
        """Look up what belongs to the arms in the model just built."""
        model = self._suite.sim.model
        if self._pictures is not None:
            self._pictures.switch(model._model)
        self._arms = []
        for robot in self._suite.robots:
            for side in robot.arms:
                controller = robot.part_controllers[side]
                fingers = robot._ref_gripper_joint_pos_indexes.get(side) or []
                self._arms.append(
                    _Arm(
                        controller=controller,
                        gripper=robot.gripper[side],
                        base_site=model.site_name2id(f"{controller.naming_prefix}{controller.part_name}_center"),
                        tcp_site=robot.eef_site_id[side],
                        joint_qpos=np.array(robot._ref_arm_joint_pos_indexes),
                        finger_qpos=np.array(fingers, dtype=int),
                    )
                )

    def _observe(self) -> dict[str, np.ndarray]:
        data = self._suite.sim.data
        states = [self._arm_state(arm) for arm in self._arms]
        observation = {
            "observation.state": np.concatenate(states).astype(np.float32),
            "observation.joint_position": np.concatenate([data.qpos[a.joint_qpos] for a in self._arms]).astype("f4"),
        }
        objects = self._suite._get_observations(force_update=True).get("object-state")
        if objects is not None:
            observation["observation.environment_state"] = objects.astype(np.float32)
        for camera in self.cameras:
            image = self.render_camera(camera, self.image_size, self.image_size)
            observation[f"observation.images.{camera}"] = image
        return observation

    def _arm_state(self, arm: _Arm) -> np.ndarray:
        data = self._suite.sim.data
        base = data.site_xmat[arm.base_site].reshape(3, 3)
        position = base.T @ (data.site_xpos[arm.tcp_site] - data.site_xpos[arm.base_site])
        rotation = base.T @ data.site_xmat[arm.tcp_site].reshape(3, 3)
        opening = [self._opening(arm)] if arm.has_fingers else []
        return np.concatenate([position, matrix_to_rot6d(rotation), opening])

    def _opening(self, arm: _Arm) -> float:
        fingers = np.abs(self._suite.sim.data.qpos[arm.finger_qpos])
        return float(np.clip(fingers.mean() / MAX_FINGER_M, 0.0, 1.0))

    def _suite_action(self, action: np.ndarray) -> np.ndarray:
        """Our vector -> robosuite's: position, rotation vector and -1 (open) .. 1 (close) for each arm."""
        parts: list[np.ndarray] = []
        start = 0
        for arm in self._arms:
            own = action[start : start + arm.action_size].astype(np.float64)
            start += arm.action_size
            parts += [own[:3], matrix_to_axis_angle(rot6d_to_matrix(own[3:9]))]
            if arm.has_fingers:
                parts.append(1.0 - 2.0 * own[9:])
        return np.concatenate(parts)

    def _observation_features(self) -> Features:
        observation = self._observe()
        state = self._layout()
        joints = ActionLayout(tuple(Part("joints", _JOINTS, prefix) for prefix in state.arms), state.robots)
        images = [
            Feature(f"observation.images.{camera}", (self.image_size, self.image_size, 3), "uint8", "image")
            for camera in self.cameras
        ]
        found = [
            Feature("observation.state", (state.size,), frame="base", layout=state),
            Feature("observation.joint_position", (joints.size,), unit="rad", layout=joints),
        ]
        objects = observation.get("observation.environment_state")
        if objects is not None:
            found.append(Feature("observation.environment_state", objects.shape, frame="world"))
        return features(found + images)

    def _action_feature(self) -> Feature:
        layout = self._layout()
        return Feature("action", (layout.size,), kind="action", frame="base", rate_hz=self.control_hz, layout=layout)

    def _layout(self) -> ActionLayout:
        """Of the targets that the controller takes, and of the state: absolute, each arm in its own base's frame."""
        prefixes = [f"robot{i}" for i in range(len(self._arms))] if len(self._arms) > 1 else [""]
        parts: list[Part] = []
        for arm, prefix in zip(self._arms, prefixes, strict=True):
            parts += [Part("pose", arm=prefix), *([Part("gripper", arm=prefix)] if arm.has_fingers else [])]
        # with a hand the grip site is our Panda's TCP; the tool of Wipe has it elsewhere
        robots = [(prefix, "panda") for arm, prefix in zip(self._arms, prefixes, strict=True) if arm.has_fingers]
        return ActionLayout(tuple(parts), tuple(robots))

    def _edit_xml(self, text: str) -> str:
        """Called by robosuite with each model before it is compiled."""
        if self._geoms:
            root = ElementTree.fromstring(text)
            found = {geom.get("name"): geom for geom in root.iter("geom")}
            for name, attributes in self._geoms.items():
                if name not in found:
                    raise ConfigError(unknown_name(f"geom of {self.name}", name, self.object_geoms()))
                for key, value in attributes.items():
                    found[name].set(key, value)
            text = ElementTree.tostring(root, encoding="unicode")
        self._xml = text
        return text

    def _check_camera(self, camera: str) -> None:
        known = self._suite.sim.model.camera_names
        if camera not in known:
            raise ConfigError(unknown_name(f"camera of {self.name}", camera, known))


def _absolute_pose_control(suite: Any) -> dict[str, Any]:
    """robosuite's default controller for fixed arms, with absolute targets in the base frame as input."""
    config = suite.load_composite_controller_config(controller="BASIC")
    arm = config["body_parts"]["right"]
    arm.update(input_type="absolute", input_ref_frame="base")
    config["body_parts"] = {"right": arm}
    return config
