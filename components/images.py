"""The images that components name until a pipeline gives its tasks the ones that it was compiled for."""

DATA, TRAIN = "cavmae-data", "cavmae-train"
