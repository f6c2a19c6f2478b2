"""DAG `cavmae_new_data`: look whether the sources have changed since the last training, and say so once."""

import time
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.data import AGAIN_S, ANNOUNCED, CRON, DATA, DELIVERY, RETRIES, TRAINED, VERSION
from dags.project import Command, Project


@dag(
    dag_id="cavmae_new_data",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable(CRON, timezone="UTC"), assets=[DELIVERY]),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={**RETRIES, "execution_timeout": timedelta(hours=2)},
    tags=["cavmae"],
    doc_md=__doc__,
)
def new_data() -> None:
    """One task, whose event starts the retraining."""

    @task(inlets=[DATA], outlets=[DATA])
    def look(asset_state_store: Any = None, outlet_events: Any = None, ti: Any = None, run_id: Any = None) -> str:
        """Tell of the sources' version, unless it was trained on or told of in the last days.

        Its event is lost with a worker that is lost after `announced` was kept: a retry of the same run tells of it again.
        """
        version = Command(Project.of_variables(), ["-m", "cavmae", "data", "version"], {}, print).output().strip()
        state = asset_state_store[DATA]
        if version == state.get(TRAINED):
            raise AirflowSkipException(f"the data is still version {version}, which was trained on")
        told = state.get(ANNOUNCED) or {}
        attempt = {"run": run_id, "tries": ti.max_tries}  # a person who clears the task raises the latter
        is_retry = attempt == {key: told.get(key) for key in attempt}
        if version == told.get("version") and time.time() - told["at"] < AGAIN_S and not is_retry:
            raise AirflowSkipException(f"version {version} was told of; its retraining is on its way")
        outlet_events[DATA].extra = {VERSION: version}
        state.set(ANNOUNCED, {"version": version, "at": time.time(), **attempt})
        return version

    look()


new_data()
