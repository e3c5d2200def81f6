"""Object trackers: devices that give poses of objects in the scene."""
