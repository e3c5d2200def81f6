"""Devices: arms, cameras, object trackers and operator input, each behind a small protocol."""
