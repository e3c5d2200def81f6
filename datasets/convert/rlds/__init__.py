"""RLDS: tfrecord files of TensorFlow Datasets, read without TensorFlow."""
