"""ACT's and ALOHA's HDF5, a file an episode."""
