"""Execution: what a policy looks back at, what it answers, and when each action is carried out. Free of torch."""
