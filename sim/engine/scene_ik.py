"""`PoseIK`: the inverse kinematics of the scenes whose states were published with it; it is part of their version.

Its arithmetic, five iterations and tolerances stay as they are. Whatever is new uses
`robolearn.kinematics.arm.ArmKinematics`.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from robolearn.core.rotation import matrix_to_axis_angle


class PoseIK:
    """Inverse kinematics of one site, solved once per control step.

    Each iteration moves the joints by J^T (J J^T + lambda^2 I)^-1 e (Wampler 1986; Nakamura and Hanafusa
    1986), e the pose error (position in m, rotation in rad, both in the world frame), plus a pull towards a
    rest posture in the null space of J. The solution is clipped to the joint limits. It works on a scratch
    `MjData`, so the simulation's state is not touched. The world's frame has to be that of the arm's base.

    `out_of_reach` counts poses that it was still more than 10 mm or 0.1 rad away from in its last iteration.

    Args:
        model: compiled model.
        site: name of the site to place.
        joints: names of the joints to move, hinge or slide.
        rest_rad: (J,) posture preferred where the pose leaves freedom.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        site: str,
        joints: Sequence[str],
        rest_rad: np.ndarray,
        damping: float = 0.02,
        rest_gain: float = 0.05,
        max_iterations: int = 5,
    ):
        self._model = model
        self._scratch = mujoco.MjData(model)
        self._site = model.site(site).id
        ids = [model.joint(name).id for name in joints]
        self._qpos = model.jnt_qposadr[ids]
        self._dofs = model.jnt_dofadr[ids]
        self._low, self._high = model.jnt_range[ids].T
        self._rest = np.asarray(rest_rad, dtype=np.float64)
        self._damping = damping**2 * np.eye(6)
        self._rest_gain = rest_gain
        self._max_iterations = max_iterations
        self._jacobian = np.zeros((6, model.nv))
        self.out_of_reach = 0

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the site, world frame, at the given joint positions."""
        self._scratch.qpos[self._qpos] = joints_rad
        mujoco.mj_kinematics(self._model, self._scratch)
        return self._scratch.site_xpos[self._site].copy(), self._scratch.site_xmat[self._site].reshape(3, 3).copy()

    def solve(self, start_rad: np.ndarray, position_m: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Joint positions (J,) rad that bring the site to the pose (world frame), starting from `start_rad`.

        An unreachable pose gives the nearest one found, never an error: the caller limits workspaces.
        """
        q = np.array(start_rad, dtype=np.float64)
        for _ in range(self._max_iterations):
            position, orientation = self.forward(q)
            error = np.concatenate([position_m - position, matrix_to_axis_angle(rotation @ orientation.T)])
            if np.abs(error[:3]).max() < 1e-4 and np.abs(error[3:]).max() < 1e-3:
                break
            mujoco.mj_comPos(self._model, self._scratch)
            mujoco.mj_jacSite(self._model, self._scratch, self._jacobian[:3], self._jacobian[3:], self._site)
            j = self._jacobian[:, self._dofs]
            pull = self._rest_gain * (self._rest - q)
            q = q + pull + j.T @ np.linalg.solve(j @ j.T + self._damping, error - j @ pull)
            q = np.clip(q, self._low, self._high)
        else:
            self.out_of_reach += bool(np.abs(error[:3]).max() > 0.01 or np.abs(error[3:]).max() > 0.1)
        return q
