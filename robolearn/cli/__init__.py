"""The command line: one verb a file, dispatched lazily by `main`."""
