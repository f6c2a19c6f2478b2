"""The data as an Airflow asset: its event means that there is something new to train on."""

import os

from airflow.sdk import Asset

DATA = Asset(name="cavmae_data", uri="cavmae://data")
ANNOUNCED, TRAINED = "announced", "trained"  # what the asset's state keeps: the versions last told of, and last trained on
VERSION = "version"  # in what comes with an event
CRON = os.environ.get("CAVMAE_CHECK_CRON", "0 3 * * 1")  # Mondays at 3; read where the DAG files are parsed
RETRIES = {"retries": 3, "retry_exponential_backoff": True}
POOL = os.environ.get("CAVMAE_GPU_POOL", "default_pool")  # of the task that trains
