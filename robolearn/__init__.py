"""robolearn: teleoperate, record, train, evaluate, serve and deploy manipulation policies."""

__version__ = "0.1.0"
