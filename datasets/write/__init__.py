"""Writing: creation, recording, the journal of the episode being recorded, and the commit that makes it visible."""
