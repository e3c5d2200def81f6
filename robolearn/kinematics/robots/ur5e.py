"""Universal Robots UR5e with a Robotiq 2F-85, MuJoCo Menagerie's `universal_robots_ur5e` and `robotiq_2f85`.

The arm is drawn as the capsules that it collides with, on its base. The base frame is the ROS driver's `base_link`; the
maker's own "base" is turned by half a turn about z. The fingers of the gripper are parallel linkages: their passive
joints are coupled to the driven one, which is the same motion as Menagerie's closed loops for fewer constraints. What
the real one does besides, its fingertips bending around a thing that is wider than high, is left out.

Velocity: UR5e user manual (180 degrees/s each). Torque: "Max. joint torques" of the maker's support pages (150 and 28
N m, by the joints' sizes). The maker states no acceleration; what is here is MoveIt's for these arms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import GripperModel, Robot, Servo
from robolearn.kinematics.sources import Menagerie

if TYPE_CHECKING:
    import mujoco

ROBOTIQ_2F85 = RobotModel(
    name="robotiq_2f85",
    version="menagerie",
    places=(Menagerie("robotiq_2f85"),),
    files=(
        "2f85.xml",
        *(
            f"assets/{part}.stl"
            for part in ("base_mount", "base", "driver", "coupler", "follower", "spring_link", "pad", "silicone_pad")
        ),
    ),
)
_BASE = ("base_0", "base_1")  # nothing collides there
_SIDES = ("right", "left")
_DRIVERS = tuple(f"{side}_driver_joint" for side in _SIDES)
_PADS = (("right_pad1", "right_pad2"), ("left_pad1", "left_pad2"))
_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")


def _build(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    arm = specs.read(robot.model.folder() / "ur5e.xml")
    specs.keep_collision_geoms(arm, but=_BASE)
    specs.dress(arm, specs.WHITE)
    for joint in arm.joints:
        specs.set_passive(joint, damping=1.0, armature=0.1)
    arm.body("base").quat = (1.0, 0.0, 0.0, 0.0)
    hand = _hand_spec(robot)
    mount = arm.site("attachment_site")
    frame = mount.parent.add_frame(pos=mount.pos, quat=mount.quat)
    arm.delete(mount)
    with specs.no_prefix():
        frame.attach_body(hand.body("base_mount"), "", "")
    return arm


def _hand_spec(robot: Robot) -> mujoco.MjSpec:
    from robolearn.kinematics import specs

    spec = specs.read(ROBOTIQ_2F85.folder() / "2f85.xml")
    specs.keep_collision_geoms(spec)
    specs.dress(spec, specs.BLACK, robot.gripper)
    specs.drop_linkage(spec)
    for side in _SIDES:
        spec.delete(spec.joint(f"{side}_coupler_joint"))  # of a parallel linkage it is one piece with the driver
        specs.couple(spec, f"{side}_spring_link_joint", f"{side}_driver_joint", 1.0)
        specs.couple(spec, f"{side}_follower_joint", f"{side}_driver_joint", -1.0)
    specs.couple(spec, "left_driver_joint", "right_driver_joint", 1.0)
    for joint in spec.joints:
        specs.set_passive(joint, damping=0.1, armature=0.005)
    spec.body("base").name = "gripper_base"  # the arm has a "base", too
    mount = spec.body("base_mount")
    specs.add_tcp(mount, (0.0, 0.0, 0.15))
    specs.add_wrist_camera(mount, (0.0, 0.075, 0.03), (-1.0, 0.0, 0.0, 0.0, 0.940, 0.342))
    return spec


UR5E = Robot(
    name="ur5e",
    title="Universal Robots UR5e with Robotiq 2F-85",
    model=RobotModel(
        name="ur5e",
        version="menagerie",
        places=(Menagerie("universal_robots_ur5e"),),
        files=("ur5e.xml", *(f"assets/{part}.obj" for part in _BASE)),
    ),
    joints=_JOINTS,
    home=(-0.3024, -1.716, 1.7838, -1.6385, -1.5708, -1.8732),  # hand pointing down at (0.45, 0, 0.30) m
    velocity=(3.14,) * 6,
    acceleration=(5.0,) * 6,
    effort=(150.0, 150.0, 150.0, 28.0, 28.0, 28.0),
    build=_build,
    gripper=GripperModel(_DRIVERS, (0.8, 0.8), (0.0, 0.0), opening_m=0.085, pads=_PADS, model=ROBOTIQ_2F85),
    servos={
        **dict.fromkeys(_JOINTS[:3], Servo(4500.0, 450.0, 150.0)),
        **dict.fromkeys(_JOINTS[3:], Servo(1500.0, 150.0, 28.0)),
        **dict.fromkeys(_DRIVERS, Servo(30.0, 1.0, 2.5)),  # 5 N m in both: about 50 N at each finger
    },
)
