"""Reading other people's datasets into ours; see `protocol.py` for what a converter is."""
