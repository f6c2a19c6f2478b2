"""The data as Airflow assets: what may be new, and what is new to train on."""

import os
from datetime import timedelta

from airflow.sdk import Asset

from dags.alerts import tell

DELIVERY = Asset(name="cavmae_delivery", uri="cavmae://delivery")  # its event, by REST: look whether there is something new
DATA = Asset(name="cavmae_data", uri="cavmae://data")  # its event: there is something new to train on
ANNOUNCED, TRAINED = "announced", "trained"  # what the asset's state keeps: the versions last told of, and last trained on
VERSION = "version"  # in what comes with an event
AGAIN_S = 6 * 86400.0  # a version that was told of, and not trained on by then, is told of again: events of a paused DAG are lost
# what is read where the DAG files are parsed, from the environment of Airflow
CRON = os.environ.get("CAVMAE_CHECK_CRON", "0 3 * * 1")  # when to look for new data: Mondays at 3
POOL = os.environ.get("CAVMAE_GPU_POOL", "default_pool")  # of the task that trains
RETRY_S = float(os.environ.get("CAVMAE_RETRY_S", "60"))  # before the first retry; then twice as long each time
POLL_S = float(os.environ.get("CAVMAE_POLL_S", "30"))  # how often a run in Kubeflow is looked at
RETRIES = {
    "retries": int(os.environ.get("CAVMAE_RETRIES", "3")),
    "retry_delay": timedelta(seconds=RETRY_S),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
    "on_failure_callback": tell,
}
