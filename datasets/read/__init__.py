"""Reading: the bytes of a dataset from anywhere, its arrays with their checksums, episodes, streams, edits."""
