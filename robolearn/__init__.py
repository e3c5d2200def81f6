"""robolearn: teleoperate, record, train, evaluate, serve and deploy manipulation policies."""

from robolearn.core.moved import put_up_signpost

__version__ = "0.1.0"

put_up_signpost()
