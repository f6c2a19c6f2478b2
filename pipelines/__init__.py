"""Kubeflow pipelines made of the components: compile, run here, submit, schedule."""
