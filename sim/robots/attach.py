"""Puts a robot into a scene on its base, with position servos in its joints and its fingers."""

from __future__ import annotations

import mujoco

from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.specs import adopt_options, no_prefix


def servo_name(joint: str) -> str:
    """Of the actuator of a joint."""
    return f"servo_{joint}"


def attach(scene: mujoco.MjSpec, mounted: MountedRobot) -> None:
    """Put the robot into `scene`, its base where it is mounted, everything of it named with its prefix."""
    spec = mounted.robot.spec()
    adopt_options(spec, scene)
    frame = scene.worldbody.add_frame(pos=mounted.position_m, quat=mounted.quaternion)
    with no_prefix():
        frame.attach_body(spec.worldbody.first_body(), mounted.named(""), "")
    for joint, servo in mounted.robot.servos.items():
        actuator = scene.add_actuator(
            name=mounted.named(servo_name(joint)), target=mounted.named(joint),
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
        )  # fmt: skip
        actuator.set_to_position(kp=servo.stiffness, kv=servo.damping)
        actuator.forcelimited, actuator.forcerange = True, [-servo.force, servo.force]
