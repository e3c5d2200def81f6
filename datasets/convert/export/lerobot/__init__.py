"""LeRobot's formats v2.1 and v3.0, written."""
