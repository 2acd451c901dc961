"""Images for training: sources, a cache of decoded images, batches. TensorFlow is not needed."""
