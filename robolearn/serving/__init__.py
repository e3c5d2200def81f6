"""Serving: a policy in a process of its own, behind a websocket that openpi's clients can talk to."""
