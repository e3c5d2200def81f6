"""From actions at the policy's rate to a setpoint at any moment in between."""

from __future__ import annotations

import numpy as np

from robolearn.core.rotation import slerp
from robolearn.execution.command import Command
from robolearn.execution.scheduler import Scheduled


def setpoint(scheduled: Scheduled, now_s: float, dt_s: float) -> Command:
    """The pose to command at `now_s`: position linear, rotation by slerp, gripper stepwise.

    In training and simulated evaluation action i is a constant target during [t_i, t_i + dt). A line through
    the actions at t_i would lead that staircase by dt/2, one through t_i + dt would trail it by dt/2. So action
    i is passed at the *middle* of its interval: the line has the staircase's mean in every straight piece and
    no delay against it. With actions 0, 1, 2 at t = 0.0, 0.1, 0.2 s:

        now           0.00  0.05  0.10  0.15  0.20  0.25  0.29
        staircase     0     0     1     1     2     2     2
        setpoint      0.0   0.0   0.5   1.0   1.5   2.0   2.0

    Before the middle of the first action and after the middle of the last one it is that action itself.
    The gripper opens and closes at t_i, as in training: a half-closed hand is no mean of open and closed.
    """
    current = Command.from_action(scheduled.action)
    middle_s = scheduled.due_s + dt_s / 2
    if now_s < middle_s and scheduled.previous is not None:
        due_s, action = scheduled.previous
        start, start_s, end, end_s = Command.from_action(action), due_s + dt_s / 2, current, middle_s
    elif now_s >= middle_s and scheduled.following is not None:
        due_s, action = scheduled.following
        start, start_s, end, end_s = current, middle_s, Command.from_action(action), due_s + dt_s / 2
    else:
        return current
    fraction = float(np.clip((now_s - start_s) / max(end_s - start_s, 1e-9), 0.0, 1.0))
    position = (1 - fraction) * start.position_m + fraction * end.position_m
    return Command(position, slerp(start.rotation, end.rotation, fraction), current.gripper)
