"""Training steps on several machines, by Kubeflow Trainer v2."""

from components.trainjob.options import ClusterOptions, SecretKey, Toleration
from components.trainjob.run import run_trainjob

__all__ = ["ClusterOptions", "SecretKey", "Toleration", "run_trainjob"]
