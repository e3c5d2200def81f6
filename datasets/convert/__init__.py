"""Reading other people's datasets into ours (`engine.py`), one folder a format, and writing theirs (`export/`)."""
