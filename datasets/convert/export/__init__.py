"""Writing our datasets in other formats: one file a format, listed in `registry.py`."""
