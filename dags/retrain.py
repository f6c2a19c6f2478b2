"""DAG `cavmae_retrain`: new data, a new candidate, and the better of candidate and champion.

In Kubeflow where the connection `cavmae_kubeflow` is set, by the pipeline `cavmae-retrain`; else on the worker, through DVC.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.task.trigger_rule import TriggerRule

from dags.data import ANNOUNCED, DATA, POOL, RETRIES, TRAINED
from dags.kubeflow import KubeflowRunOperator, has_kubeflow
from dags.operators import CavmaeOperator
from dags.project import Command, Project

CANDIDATE, DECISION = "models/final", "metrics/decision.json"
_REGISTRY, _RUN = "{{ params.registry }}", "{{ run_id }}"


def _cavmae(*words: str) -> str:
    return Command(Project.of_variables(), ["-m", "cavmae", *words], {}, print).output().strip()


@dag(
    dag_id="cavmae_retrain",
    schedule=[DATA],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={**RETRIES, "retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(days=3)},
    params={
        "registry": Param("models/registry", type="string", minLength=1, description="folder, or s3://bucket/prefix"),
        "rule": Param(
            "interval", type="string", enum=["interval", "point", "not_worse"], description="when a candidate is better"
        ),
        "margin": Param(0.0, type="number", description="by how much, in units of compare.metric"),
        "overrides": Param("", type="string", description="Kubeflow: parameters of steps, lines of step.key=value"),
    },
    tags=["cavmae"],
    doc_md=__doc__,
)
def retrain() -> None:
    """validate -> train -> compare -> promote or keep -> report; or all of that in Kubeflow."""

    @task(inlets=[DATA])
    def settle() -> str:
        """The version of the sources that this run trains on."""
        return _cavmae("data", "version")

    @task.branch
    def choose() -> str:
        """Where it is done."""
        return "kubeflow" if has_kubeflow() else "validate"

    version, chosen = settle(), choose()
    run_id = {"CAVMAE_RUN_ID": _RUN}
    validate = CavmaeOperator(task_id="validate", words=["-m", "pipelines.dvc_repro", "validate"], environment=run_id)
    train = CavmaeOperator(task_id="train", words=["-m", "pipelines.dvc_repro"], environment=run_id, pool=POOL)
    rule = ["--rule", "{{ params.rule }}", "--margin", "{{ params.margin }}"]
    files = ["--candidate", CANDIDATE, "--registry", _REGISTRY, "--decision", DECISION]
    compare = CavmaeOperator(task_id="compare", words=["-m", "cavmae", "compare", *files, *rule])
    promote = CavmaeOperator(task_id="promote", words=["-m", "cavmae", "promote", *files, "--run-id", _RUN])
    kubeflow = KubeflowRunOperator(
        task_id="kubeflow",
        name="cavmae-retrain",
        values=[
            f"registry={_REGISTRY}",
            "rule={{ params.rule }}",
            "margin={{ params.margin }}",
            "overrides={{ params.overrides }}",
        ],
        run_name=f"airflow {_RUN}",
        limit=timedelta(days=3),
        pool=POOL,
    )

    @task(inlets=[DATA], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report(version: str, asset_state_store: Any = None, ti: Any = None, run_id: Any = None, params: Any = None) -> str:
        """Read what became of the candidate from the registry's history, and keep which version was trained on."""
        run = ti.xcom_pull(task_ids="kubeflow") or run_id
        history = json.loads(_cavmae("history", "--registry", params["registry"], "--json"))["history"]
        entry = next((entry for entry in reversed(history) if entry["run_id"] == run), None)
        if entry is None:
            raise ValueError(f"{params['registry']} tells of no run {run}")
        asset_state_store[DATA].set(TRAINED, version)
        return f"{entry['outcome']} {entry['to_version']}, candidate {entry['candidate']}: {entry['reason']}"

    @task(inlets=[DATA], trigger_rule=TriggerRule.ONE_FAILED)
    def let_go(asset_state_store: Any = None) -> None:
        """After a failure the next look tells of this version again."""
        asset_state_store[DATA].delete(ANNOUNCED)

    told = report(version)
    version >> chosen >> [validate, kubeflow]
    validate >> train >> compare >> promote >> told
    kubeflow >> told
    [version, chosen, validate, train, compare, promote, kubeflow, told] >> let_go()


retrain()
