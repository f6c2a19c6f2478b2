"""DAG `cavmae_retrain`: new data, a new candidate, and the better of candidate and champion.

In Kubeflow where the connection `cavmae_kubeflow` is set, by the pipeline `cavmae-retrain`; else on the worker, through DVC.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.task.trigger_rule import TriggerRule

from dags.data import ANNOUNCED, DATA, POLL_S, POOL, RETRIES, TRAINED, VERSION
from dags.kubeflow import KubeflowRunOperator
from dags.kubeflow_commands import has_kubeflow
from dags.operators import CavmaeOperator
from dags.project import Command, Project

CANDIDATE, DECISION = "models/final", "metrics/decision.json"
_LOCAL_REGISTRY = "models/registry"
_RUN, _REGISTRY = "{{ run_id }}", f"{{{{ params.registry or var.value.get('cavmae_registry', '{_LOCAL_REGISTRY}') }}}}"
_SETTINGS = "{{ var.value.get('cavmae_settings', '') }}"
_FORM = {
    "registry": Param("", type="string", description="folder or s3://bucket/prefix; empty: the variable cavmae_registry"),
    "rule": Param("", type="string", enum=["", "interval", "point", "not_worse"], description="empty: as params.yaml says"),
    "margin": Param(None, type=["null", "number"], description="in units of the metric; empty: as params.yaml says"),
    "fields": Param(
        [], type="array", items={"type": "string"}, description="Kubeflow: fields of the pipeline's form, each key=value"
    ),
    "overrides": Param(
        [], type="array", items={"type": "string"}, description="Kubeflow: other parameters of steps, each step.key=value"
    ),
}


def _given(key: str, before: str = "") -> str:
    """A word `key=value` where the form has a value, else an empty one, which is left out."""
    return f"{{% if params.{key} not in (None, '') %}}{before}{key}={{{{ params.{key} }}}}{{% endif %}}"


def _lines(key: str) -> str:
    """The form's list of that key, a line each."""
    return f"{{{{ params.{key} | join('\n') }}}}"


def _cavmae(*words: str) -> str:
    return Command(Project.of_variables(), ["-m", "cavmae", *words], {}, print).output().strip()


@dag(
    dag_id="cavmae_retrain",
    schedule=[DATA],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={**RETRIES, "execution_timeout": timedelta(days=3)},
    params=_FORM,
    tags=["cavmae"],
    doc_md=__doc__,
)
def retrain() -> None:
    """validate -> train -> compare -> promote or keep -> report; or all of that in Kubeflow."""

    @task(inlets=[DATA])
    def settle(asset_state_store: Any = None, triggering_asset_events: Any = None) -> str:
        """The version of the sources that this run trains on; none where looks started it that it was trained on after."""
        version = _cavmae("data", "version")
        events = [event for events in (triggering_asset_events or {}).values() for event in events]
        told = [(event.extra or {}).get(VERSION) for event in events]
        if told and None not in told and version == asset_state_store[DATA].get(TRAINED):
            raise AirflowSkipException(f"the run before this one has trained on version {version} already")
        return version

    @task.branch
    def choose(registry: str) -> str:
        """Where it is done."""
        if not has_kubeflow():
            return "validate"
        if not registry.startswith(("s3://", "/")):
            raise AirflowFailException(
                f"registry {registry}: pods share no such folder with a worker; set the variable cavmae_registry to s3://bucket/prefix"
            )
        return "kubeflow"

    version, chosen = settle(), choose(_REGISTRY)
    run_id = {"CAVMAE_RUN_ID": _RUN}
    validate = CavmaeOperator(task_id="validate", words=["-m", "pipelines.dvc_repro", "validate"], environment=run_id)
    train = CavmaeOperator(task_id="train", words=["-m", "pipelines.dvc_repro"], environment=run_id, pool=POOL)
    snapshot = CavmaeOperator(task_id="snapshot", words=["-m", "pipelines.snapshot", _RUN])
    files = ["--candidate", CANDIDATE, "--registry", _REGISTRY, "--decision", DECISION]
    settings = [_given(key, "--set=") for key in ("rule", "margin")]
    compare = CavmaeOperator(task_id="compare", words=["-m", "cavmae", "compare", *files, *settings])
    promote = CavmaeOperator(task_id="promote", words=["-m", "cavmae", "promote", *files, f"--run-id={_RUN}"])
    kubeflow = KubeflowRunOperator(
        task_id="kubeflow",
        name="cavmae-retrain",
        values=[f"registry={_REGISTRY}", _given("rule"), _given("margin")],
        fields=_lines("fields"),
        overrides=_lines("overrides"),
        settings=_SETTINGS,
        run_name=f"airflow {_RUN}",
        limit=timedelta(days=3),
        every_s=POLL_S,
        pool=POOL,
    )

    @task(inlets=[DATA], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(version: str, registry: str, asset_state_store: Any = None, ti: Any = None, run_id: Any = None) -> str:
        """Read what became of the candidate from the registry's history, and keep which version was trained on."""
        run = ti.xcom_pull(task_ids="kubeflow") or run_id
        history = json.loads(_cavmae("history", "--registry", registry, "--json"))["history"]
        entry = next((entry for entry in reversed(history) if entry["run_id"] == run), None)
        if entry is None:
            raise ValueError(f"{registry} tells of no run {run}")
        asset_state_store[DATA].set(TRAINED, version)
        return f"{entry['outcome']} {entry['to_version']}, candidate {entry['candidate']}: {entry['reason']}"

    @task(inlets=[DATA], trigger_rule=TriggerRule.ONE_FAILED, on_failure_callback=None)
    def give_back(asset_state_store: Any = None, ti: Any = None) -> None:
        """After a failure the next look tells of this version again. It fails itself: a run is what its last tasks are."""
        state, version = asset_state_store[DATA], ti.xcom_pull(task_ids="settle")
        if version in (None, (state.get(ANNOUNCED) or {}).get("version")):  # a newer one has its own run, which waits
            state.delete(ANNOUNCED)
        raise AirflowFailException(
            "the retraining has failed; the next look starts it again, unless its data was trained on before"
        )

    told = report(version, _REGISTRY)
    version >> chosen >> [validate, kubeflow]
    validate >> train >> snapshot >> compare >> promote >> told
    kubeflow >> told
    [version, chosen, validate, train, snapshot, compare, promote, kubeflow, told] >> give_back()


retrain()
