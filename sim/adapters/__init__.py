"""Other simulators behind the environment contract of `robolearn.sim.env`."""
