"""What holds of every robot of the registry: frames, grippers, limits, what its spec is."""

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from robolearn.core.action_dialect import Dialect
from robolearn.core.errors import ConfigError, MissingDependencyError
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.clearance import geom_distance
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.mounted import MountedRobot, require_prefixes
from robolearn.kinematics.robot import TCP_SITE, GripperModel, Robot, Servo
from robolearn.kinematics.robots import ROBOTS, robot
from robolearn.kinematics.specs import ROBOT_BIT, WORLD_BIT


def posed(arm: Robot, opening: float) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The robot at home, with whatever is coupled to its fingers where the couplings put it."""
    model = arm.spec().compile()
    data = mujoco.MjData(model)
    driven = dict(zip(arm.joints, arm.home_rad, strict=True))
    if arm.gripper:
        driven |= dict(zip(arm.gripper.joints, arm.gripper.positions(opening), strict=True))
    for name, position in driven.items():
        data.qpos[model.joint(name).qposadr[0]] = position
    for follower, driver, ratio in zip(model.eq_obj1id, model.eq_obj2id, model.eq_data[:, 1], strict=True):
        if model.joint(follower).name not in driven:
            data.qpos[model.jnt_qposadr[follower]] = ratio * data.qpos[model.jnt_qposadr[driver]]
    mujoco.mj_forward(model, data)
    return model, data


def gap(arm: Robot, opening: float) -> float:
    """Smallest distance between the pads of the two fingers."""
    model, data = posed(arm, opening)
    one, other = ([int(model.geom(name).id) for name in pads] for pads in arm.gripper.pads)
    return min(geom_distance(model, data, a, b, 1.0) for a in one for b in other)


def test_the_tool_points_down_in_front_of_the_base_and_the_fingers_open_sideways_at_home(arm):
    position, rotation = ArmKinematics(arm).forward(arm.home_rad)
    assert position[0] > 0.15 and abs(position[1]) < 0.01 and position[2] > 0.05
    np.testing.assert_allclose(rotation, [[0, 1, 0], [1, 0, 0], [0, 0, -1]], atol=2e-3)


def test_the_home_posture_is_within_the_limits(arm):
    low, high = ArmKinematics(arm).limits_rad.T
    assert (low < arm.home_rad).all() and (arm.home_rad < high).all()


def test_the_fingers_open_along_the_tools_x_axis(arm):
    """What a small opening does to the pads, seen from the tool: they part along x, symmetrically or one of them."""
    _, before = posed(arm, 0.5)
    _, after = posed(arm, 0.5 + 1e-4)
    rotation = before.site(TCP_SITE).xmat.reshape(3, 3)
    moved = [
        np.mean([after.geom(pad).xpos - before.geom(pad).xpos for pad in pads], axis=0) @ rotation
        for pads in arm.gripper.pads
    ]
    parted = moved[1] - moved[0]
    assert abs(parted[0]) > 1e-6
    assert abs(parted[1]) < 0.02 * abs(parted[0])


def test_the_gripper_opens_as_wide_as_it_says(arm):
    assert gap(arm, 1.0) == pytest.approx(arm.gripper.opening_m, abs=2e-3)
    openings = [gap(arm, opening) for opening in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (np.diff(openings) > 0.005).all()
    assert openings[0] < 0.25 * openings[-1]


def test_the_tool_is_between_the_pads(arm):
    _, data = posed(arm, 0.0)
    tool = data.site(TCP_SITE).xpos
    closest = [np.linalg.norm([data.geom(pad).xpos - tool for pad in pads], axis=1).min() for pads in arm.gripper.pads]
    assert max(closest) < 0.035


def test_its_spec_has_servos_cameras_and_contacts_for_others_to_add(arm):
    model = arm.spec().compile()
    assert (model.nu, model.nsensor, model.nkey) == (0, 0, 0)
    assert len(arm.spec().worldbody.bodies) == 1
    colliding = model.geom_contype > 0
    assert set(model.geom_contype[colliding]) == {ROBOT_BIT} and set(model.geom_conaffinity[colliding]) == {WORLD_BIT}
    assert (model.body_gravcomp[1:] == 1).all()
    joints = [model.joint(j).name for j in range(model.njnt)]
    start = joints.index(arm.joints[0])
    assert tuple(joints[start : start + len(arm.joints)]) == arm.joints


def test_two_of_it_stand_in_one_scene_with_prefixes(arm):
    scene = mujoco.MjSpec()
    for prefix, place in (("left_", -0.5), ("right_", 0.5)):
        scene.worldbody.add_frame(pos=(0, place, 0)).attach_body(arm.spec().worldbody.first_body(), prefix, "")
    model = scene.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    apart = data.site("right_tcp").xpos - data.site("left_tcp").xpos
    np.testing.assert_allclose(apart, [0, 1, 0], atol=1e-12)
    # and it can be saved and read again
    assert mujoco.MjModel.from_xml_string(scene.to_xml()).nq == model.nq


def test_its_limits_are_numbers_above_zero(arm):
    for limits in (arm.velocity, arm.acceleration, arm.effort):
        assert len(limits) == len(arm.joints) and min(limits) > 0
    assert set(arm.servos) == {*arm.joints, *arm.gripper.joints}
    assert arm.title and arm.version


def test_a_layout_is_written_for_it_from_words(arm):
    pair = (MountedRobot(arm, "left"), MountedRobot(arm, "right"))
    layout = Dialect.parse("joints").layout(pair)
    assert layout.size == 2 * (len(arm.joints) + 1)
    assert layout.robots == (("left", arm.name), ("right", arm.name))
    assert Dialect.parse("pose").layout(pair[:1]).parts[0].free == arm.free


@pytest.mark.parametrize("name", ROBOTS)
def test_each_name_is_that_of_its_robot(name):
    assert robot(name).name == name


@pytest.mark.parametrize(("name", "file"), [("xarm7", "xarm7.xml"), ("ur5e", "2f85.xml")])
def test_menageries_closed_loops_are_closed_by_the_couplings_too(present, name, file):
    """Of grippers whose fingers are parallel linkages: where the file pins two links together, they meet."""
    arm = present(name)
    coupled = arm.spec().compile()
    original = mujoco.MjModel.from_xml_path(str(arm.models[-1].folder() / file))
    data = mujoco.MjData(original)
    connected = int((original.eq_type == mujoco.mjtEq.mjEQ_CONNECT).sum())
    assert connected == 2
    for driven in np.linspace(0.0, 0.8, 5):
        couplings = zip(coupled.eq_obj1id, coupled.eq_obj2id, coupled.eq_data[:, 1], strict=True)
        for follower, driver, ratio in couplings:
            for joint, angle in ((driver, driven), (follower, ratio * driven)):
                data.qpos[original.joint(coupled.joint(joint).name).qposadr[0]] = angle
        mujoco.mj_forward(original, data)
        assert np.abs(data.efc_pos[: 3 * connected]).max() < 1e-3  # m


def test_an_unknown_robot_is_answered_with_the_closest_match():
    with pytest.raises(
        ConfigError, match=r"Unknown robot 'ur5'. Did you mean 'ur5e'\? Known: fr3, google_robot, panda"
    ):
        robot("ur5")


def test_files_that_are_not_there_are_said_with_what_to_type(monkeypatch, tmp_path):
    library = pytest.importorskip("mujoco_menagerie", reason="mujoco-menagerie is not installed")
    monkeypatch.delenv("MENAGERIE_ROOT")
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", (tmp_path / "nowhere").as_uri())
    assert "franka_fr3" in library.names()
    with pytest.raises(
        MissingDependencyError, match="'franka_fr3' is not in .* type: mujoco-menagerie prefetch franka_fr3"
    ):
        robot("fr3").spec()


def test_without_mujoco_a_robot_can_be_looked_up_but_not_built():
    program = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from robolearn.kinematics.robots import ROBOTS, robot\n"
        "print([robot(name).joints[0] for name in ROBOTS][0])\n"
        "try:\n    robot('panda').spec()\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
        "import robolearn.kinematics.arm"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ)
    first, second = done.stdout.splitlines()
    assert first == "joint1"
    assert second.startswith(
        "MissingDependencyError The model of the robot 'panda' needs the package 'mujoco', which is"
    )
    assert "MissingDependencyError: Kinematics of robots need the package 'mujoco'" in done.stderr.splitlines()[-1]


def test_two_arms_with_one_prefix_are_refused():
    panda = robot("panda")
    with pytest.raises(ConfigError, match=r"Two arms have the prefix 'left'.*found \['left', 'left'\]"):
        require_prefixes([MountedRobot(panda, "left"), MountedRobot(panda, "left")])
    with pytest.raises(ConfigError, match=r"Of several arms each needs a prefix.*\['', 'right'\]"):
        require_prefixes([MountedRobot(panda), MountedRobot(panda, "right")])


def test_a_pose_of_the_base_is_seen_from_the_world_and_back():
    mounted = MountedRobot(robot("panda"), "left", (1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 1.0))  # a quarter turn about z
    position, rotation = mounted.to_world(np.array([0.5, 0.0, 0.1]), np.eye(3))
    np.testing.assert_allclose(position, [1.0, 2.5, 3.1], atol=1e-12)
    back, turned = mounted.from_world(position, rotation)
    np.testing.assert_allclose(back, [0.5, 0.0, 0.1], atol=1e-12)
    np.testing.assert_allclose(turned, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("place", "turn", "told"),
    [
        ((0, 0), (1, 0, 0, 0), "three finite"),
        ((0, 0, np.nan), (1, 0, 0, 0), "three"),
        ((0, 0, 0), (0,) * 4, "quaternion"),
    ],
)
def test_a_place_that_cannot_be_is_refused(place, turn, told):
    with pytest.raises(ConfigError, match=told):
        MountedRobot(robot("panda"), "", place, turn)


def test_a_robot_that_contradicts_itself_is_refused():
    facts = {
        "name": "bent",
        "title": "",
        "model": RobotModel("bent", "1", (), ()),
        "joints": ("a", "b"),
        "home": (0, 0),
    }
    limits = {"velocity": (1, 1), "acceleration": (1, 1), "effort": (1, 1), "build": lambda _: None}
    servo = Servo(1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match="'bent' has 2 joints, but 1 numbers in velocity"):
        Robot(**facts, **{**limits, "velocity": (1,)}, servos=dict.fromkeys("ab", servo))
    with pytest.raises(ConfigError, match=r"servos in \['a'\]; expected one in each of \['a', 'b', 'f'\]"):
        Robot(**facts, **limits, gripper=GripperModel(("f",), (0,), (1,), 1.0, ((), ())), servos={"a": servo})


@pytest.mark.parametrize("name", tuple(ROBOTS))
def test_servos_of_joints_stay_within_what_the_maker_states(name):
    arm = robot(name)
    assert all(arm.servos[joint].force <= effort for joint, effort in zip(arm.joints, arm.effort, strict=True))


@pytest.mark.parametrize("opening", [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize("name", ["so100", "so101"])
def test_a_jaw_that_swings_is_as_far_from_the_other_at_the_tcp_as_is_said(present, name, opening):
    arm = present(name)
    model, data = posed(arm, opening)
    tcp, hit = data.site(TCP_SITE), np.zeros(1, np.int32)
    ways = [sign * tcp.xmat.reshape(3, 3)[:, 0] for sign in (1, -1)]
    across = sum(mujoco.mj_ray(model, data, tcp.xpos, way, None, 1, -1, hit) for way in ways)
    assert arm.gripper.apart_m(opening) == pytest.approx(across, abs=0.005)


@pytest.mark.parametrize("name", tuple(ROBOTS))
def test_fingers_are_farther_apart_the_more_they_are_open(name):
    gripper = robot(name).gripper
    assert gripper.apart_m(1.0) > gripper.apart_m(0.0) >= 0.0
