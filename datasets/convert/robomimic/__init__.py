"""HDF5 with a group an episode: robomimic's, and what robosuite's has in common with it."""
