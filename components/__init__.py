"""Kubeflow components, one file per step: typed artifacts around the step functions, and no logic of their own."""
