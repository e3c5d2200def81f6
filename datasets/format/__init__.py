"""The format: names and shapes on disk, codecs, a whole episode in memory. Nothing here opens a dataset."""
