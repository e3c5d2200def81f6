"""Reading other people's datasets into ours (`engine.py`), one file a format, and writing theirs (`export/`)."""
