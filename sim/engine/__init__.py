"""What every scene of our own runs on: worlds, tasks, controllers, and the one environment that puts them together."""
