"""Teleoperation: operators, the one loop that turns their motion into commands, and recording."""
