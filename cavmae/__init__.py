"""CAV-MAE Pipelines: from a team's own videos to a model that understands them by sight and sound."""

__version__ = "0.1.0"
