"""Airflow: looking for new data, and retraining on it. The project's folder is on PYTHONPATH of all of Airflow."""
