"""What can be proved of a model: every hash that its lineage names and that can be reached, worked out again."""
