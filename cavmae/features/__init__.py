"""Log-mel spectrograms, pictures and augmentation, in batches, on whatever device the batch lies."""
