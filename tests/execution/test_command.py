"""What an arm is told, and that nothing else is taken for it."""

import numpy as np
import pytest

from robolearn.core.errors import LayoutError
from robolearn.core.rotation import axis_angle_to_matrix
from robolearn.execution.command import COMMAND_LAYOUT, Command


def test_a_command_is_its_action_and_back():
    command = Command(np.array([0.1, 0.2, 0.3]), axis_angle_to_matrix(np.array([0.3, -0.2, 0.9])), 0.25)
    action = command.to_action()
    assert action.shape == (COMMAND_LAYOUT.size,)
    again = Command.from_action(action)
    np.testing.assert_allclose(again.position_m, command.position_m)
    np.testing.assert_allclose(again.rotation, command.rotation, atol=1e-12)
    assert again.gripper == 0.25


@pytest.mark.parametrize("shape", [(7,), (8,), (20,), (2, 10), ()])
def test_other_numbers_are_never_taken_for_a_command(shape):
    with pytest.raises(LayoutError) as error:
        Command.from_action(np.zeros(shape))
    assert "10 numbers; found an action of shape" in str(error.value)
