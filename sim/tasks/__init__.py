"""Tasks of our own, one a file: start states, what counts as done, in a world of `robolearn.sim.worlds`."""
