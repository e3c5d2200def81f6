import mujoco
import numpy as np
import pytest

from robolearn.core.errors import ConfigError
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robots import robot
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.worlds.tabletop import Tabletop

FORWARD, BACKWARD = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)


def two(left: str, right: str) -> Tabletop:
    arms = (
        MountedRobot(robot(left), "left", (0.0, 0.0, 0.0), FORWARD),
        MountedRobot(robot(right), "right", (1.2, 0.0, 0.0), BACKWARD),
    )
    return Tabletop("two", arms, (), arms_touch=True)


@pytest.mark.parametrize("names", [("panda", "so100"), ("ur5e", "xarm7"), ("wx250s", "google_robot")], ids="-".join)
def test_arms_of_two_kinds_stand_at_one_table_each_with_its_own_numbers(names, require_robot):
    for name in names:
        require_robot(name)
    world = two(*names)
    sim = Simulation(world.compose().compile(), world.arms)
    for arm in sim.arms:
        arm.put(arm.mounted.robot.home_rad, 1.0)
    mujoco.mj_forward(sim.model, sim.data)
    layout = world.layout("joints")
    assert layout.robots == (("left", names[0]), ("right", names[1]))
    assert layout.size == sum(len(robot(name).joints) + 1 for name in names)
    assert world.refusal(layout) is None
    for arm in sim.arms:  # tools in front of their own bases, and in the world towards each other
        own, _ = arm.tcp_pose()
        assert own[0] > 0.1 and abs(own[1]) < 0.1
    apart = sim.arms[1].tcp_position_in_world() - sim.arms[0].tcp_position_in_world()
    assert 0.0 < apart[0] < 1.1
    assert not np.isnan(sim.data.qacc).any()


def test_two_arms_with_one_prefix_are_refused():
    arm = robot("panda")
    with pytest.raises(ConfigError, match="Two arms have the prefix 'left'"):
        Tabletop("two", (MountedRobot(arm, "left"), MountedRobot(arm, "left", (1.0, 0.0, 0.0))), ())
