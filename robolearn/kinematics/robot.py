"""`Robot`: an arm with its gripper, as all code but drivers knows it. Description only, until `spec` is asked for.

Frames: the base frame has its origin on the surface that the arm stands on, z up along the axis of the first joint, x
forward. The tool centre point (TCP) is the site `TCP_SITE`: its z axis points the way the tool approaches things, and
the fingers open along its x axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.core.action import Free, Kind
from robolearn.core.errors import ConfigError
from robolearn.kinematics.models import RobotModel

if TYPE_CHECKING:  # a robot can be looked up where MuJoCo is not installed
    import mujoco

TCP_SITE = "tcp"
WRIST_CAMERA = "wrist"


@dataclass(frozen=True)
class Servo:
    """A position servo in a joint of the simulator.

    Attributes:
        stiffness: N m / rad, or N / m of a sliding joint.
        damping: N m s / rad, or N s / m.
        force: highest, N m or N.
    """

    stiffness: float
    damping: float
    force: float


@dataclass(frozen=True)
class GripperModel:
    """Fingers and how they open: opening 0 is `closed`, 1 is `open`, in between each joint moves in proportion.

    Attributes:
        joints: that are driven; what else moves in the gripper is coupled to them.
        closed, open: their positions, rad or m.
        opening_m: distance between the fingers when open.
        gap_m: distance between the fingers at the TCP when closed and when open, where that is not (0, `opening_m`); of
            a jaw that swings, ends of the line that holds while it is less than half open.
        pads: names of the geoms that hold things, of one finger and of the other.
        model: its files where they are not the arm's.
    """

    joints: tuple[str, ...]
    closed: tuple[float, ...]
    open: tuple[float, ...]
    opening_m: float
    pads: tuple[tuple[str, ...], tuple[str, ...]]
    model: RobotModel | None = None
    gap_m: tuple[float, float] | None = None

    def apart_m(self, opening: float) -> float:
        """How far apart the fingers are at the TCP."""
        closed, opened = self.gap_m or (0.0, self.opening_m)
        return closed + opening * (opened - closed)

    def positions(self, opening: float) -> np.ndarray:
        """(F,) of the driven joints at an opening in [0, 1]."""
        closed = np.array(self.closed)
        return closed + opening * (np.array(self.open) - closed)


@dataclass(frozen=True, eq=False)
class Robot:
    """See the module's text.

    Attributes:
        name: in the registry `robolearn.kinematics.robots`.
        title: maker and model, for people.
        model: files of the arm.
        joints: their names in the model, from the base to the tool; (J,) hinges.
        home: (J,) rad, tool down in front of the base; where redundancy is drawn to.
        velocity, acceleration, effort: (J,) limits in rad/s, rad/s^2, N m. The robot's file names the source. Limits of
            position are the model's: `ArmKinematics.limits_rad`.
        build: gives the `spec`.
        gripper: None = the arm ends in a bare flange.
        servos: for the simulator, of each joint of the arm and each driven one of the gripper.
        free: which rotation its joints cannot follow; see `robolearn.core.action.Part.free`.
        action_kinds: of parts that the arm takes.
    """

    name: str
    title: str
    model: RobotModel
    joints: tuple[str, ...]
    home: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    effort: tuple[float, ...]
    build: Callable[[Robot], mujoco.MjSpec]
    gripper: GripperModel | None = None
    servos: Mapping[str, Servo] = field(default_factory=dict)
    free: Free = ""
    action_kinds: tuple[Kind, ...] = ("pose", "joints", "velocity")

    def __post_init__(self) -> None:
        for name in ("home", "velocity", "acceleration", "effort"):
            if len(getattr(self, name)) != len(self.joints):
                raise ConfigError(
                    f"The robot {self.name!r} has {len(self.joints)} joints, but {len(getattr(self, name))} numbers "
                    f"in {name}."
                )
        driven = (*self.joints, *(self.gripper.joints if self.gripper else ()))
        if set(self.servos) != set(driven):
            raise ConfigError(
                f"The robot {self.name!r} has servos in {list(self.servos)}; expected one in each of {list(driven)}."
            )

    @property
    def home_rad(self) -> np.ndarray:
        """(J,) a copy of `home`."""
        return np.array(self.home)

    @property
    def version(self) -> str:
        """Of the model: what results and datasets name. Where no checksum is pinned it is that of the files in use.

        Raises MissingDependencyError where those are not to be had.
        """
        return "+".join(model.measured_version() for model in self.models)

    @property
    def models(self) -> tuple[RobotModel, ...]:
        """All files that it is made of: the arm's, then the gripper's where they are not the arm's."""
        return (self.model, *([self.gripper.model] if self.gripper is not None and self.gripper.model else []))

    @property
    def is_present(self) -> bool:
        """Whether all its files are on this machine, so that `spec` downloads nothing."""
        return all(model.present() is not None for model in self.models)

    def spec(self) -> Any:
        """The arm with its gripper as a `mujoco.MjSpec` of one body: collision geoms that are drawn, the site
        `TCP_SITE`, no actuators, gravity compensated. The body's frame in the spec's world is where it stands in the
        base frame. A new copy each time.

        Raises MissingDependencyError where its files are not to be had, or MuJoCo is not installed.
        """
        try:
            import mujoco  # noqa: F401
        except ModuleNotFoundError as error:
            from robolearn.core.errors import MissingDependencyError
            from robolearn.core.pins import install_line

            raise MissingDependencyError(
                f"The model of the robot {self.name!r} needs the package 'mujoco', which is not installed. Install it "
                f"with: {install_line('sim')}"
            ) from error
        return self.build(self)
