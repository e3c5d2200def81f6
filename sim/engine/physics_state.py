"""What MuJoCo integrates, as one vector: taken from a simulation and put back so that it goes on exactly as before."""

from __future__ import annotations

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def state_size(model: mujoco.MjModel) -> int:
    return int(mujoco.mj_stateSize(model, _STATE))


def physics_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """(S,) float64."""
    state = np.empty(state_size(model))
    mujoco.mj_getState(model, data, state, _STATE)
    return state


def set_physics_state(model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray, env: str) -> None:
    """Put (S,) back and compute what follows from it. Raises ConfigError, naming `env`, for another size."""
    size = state_size(model)
    if state.shape != (size,):
        raise ConfigError(f"A state of {env!r} has {size} numbers; found shape {state.shape}.")
    state = np.asarray(state, dtype=np.float64)
    mujoco.mj_setState(model, data, state, _STATE)
    mujoco.mj_forward(model, data)
    # the forward pass changed the solver's warm start, which is part of the state
    mujoco.mj_setState(model, data, state, _STATE)
