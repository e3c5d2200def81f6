"""Making new datasets from recorded ones (merge, split, drop, resample, resize), statistics, and edits of labels."""
