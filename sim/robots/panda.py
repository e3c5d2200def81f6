"""The Panda of our scenes, with position servos in its joints and its fingers."""

from __future__ import annotations

import mujoco

from robolearn.kinematics.robots.panda import MODEL, PANDA
from robolearn.kinematics.specs import no_prefix

VERSION = MODEL.version
JOINTS = PANDA.joints
FINGERS = ("finger_joint1", "finger_joint2")
TCP_SITE = "tcp"
WRIST_CAMERA = "wrist"
HOME_RAD = PANDA.home_rad
MAX_OPENING_M = 0.08


def add_panda(scene: mujoco.MjSpec) -> None:
    """Attach the arm with its hand to `scene`, base at the world origin, so that world and base frames agree."""
    with no_prefix():
        scene.worldbody.add_frame().attach_body(PANDA.spec().body("base"), "", "")
    for joint, servo in PANDA.servos.items():
        actuator = scene.add_actuator(name=f"servo_{joint}", target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=servo.stiffness, kv=servo.damping)
        actuator.forcelimited, actuator.forcerange = True, [-servo.force, servo.force]
