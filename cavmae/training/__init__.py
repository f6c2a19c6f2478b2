"""One engine for pretraining and fine-tuning: objectives, schedule, checkpoints that a killed run continues from."""
