"""The Kubeflow Pipelines API (v2beta1): the calls that the project makes, and nothing of what it does with them."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cavmae.errors import InputError
from pipelines.connection import Connection, Query

_API = "/apis/v2beta1"
Json = dict[str, Any]


class Kubeflow:
    """The API at the other end of a connection, in one namespace. Where it serves one user, it has none."""

    def __init__(self, connection: Connection, namespace: str | None) -> None:
        self.connection = connection
        self._namespace = namespace

    @cached_property
    def namespace(self) -> str | None:
        """The namespace to send; asks the API whether it has any. Raises InputError where one is needed and none was given."""
        several = self.connection.get(f"{_API}/healthz").get("multi_user") is True
        if several and not self._namespace:
            raise InputError(
                f"{self.connection.host}: serves several users; give --namespace or set CAVMAE_KFP_NAMESPACE to your profile's"
            )
        return self._namespace if several else None

    def pipeline(self, name: str) -> Json | None:
        """Return the pipeline of that name, or None."""
        return self._named(f"{_API}/pipelines", "pipelines", name, self._scope())

    def create_pipeline(self, name: str, description: str) -> Json:
        """Create a pipeline that has no version yet; Refused with 409 where there is one of that name."""
        return self.connection.post(f"{_API}/pipelines", {"display_name": name, "description": description, **self._scope()})

    def version(self, pipeline_id: str, name: str) -> Json | None:
        """Return a pipeline's version of that name, or None."""
        return self._named(f"{_API}/pipelines/{_part(pipeline_id)}/versions", "pipeline_versions", name, {})

    def upload_version(self, pipeline_id: str, name: str, package: Path, description: str) -> Json:
        """Upload a compiled package as a new version; Refused with 409 where there is one of that name."""
        return self.connection.post(
            f"{_API}/pipelines/upload_version", upload=package, name=name, pipelineid=pipeline_id, description=description
        )

    def experiment(self, name: str) -> Json | None:
        """Return the experiment of that name, or None."""
        return self._named(f"{_API}/experiments", "experiments", name, self._scope())

    def create_experiment(self, name: str) -> Json:
        """Create an experiment; Refused with 409 where there is one of that name."""
        return self.connection.post(f"{_API}/experiments", {"display_name": name, **self._scope()})

    def runs(self, limit: int, name: str | None = None, recurring_run_id: str | None = None) -> list[Json]:
        """Return the latest runs, newest first: all, those of a name, or those that a schedule started."""
        wanted = {"display_name": name, "recurring_run_id": recurring_run_id}
        query: Query = {"sort_by": "created_at desc", "page_size": min(limit, 100), **_filter(wanted), **self._scope()}
        runs = self.connection.pages(f"{_API}/runs", "runs", query, limit)
        return [run for run in runs if all(value is None or run.get(key) == value for key, value in wanted.items())]

    def run(self, run_id: str) -> Json:
        """Return a run with its tasks; Refused with 404 where there is none."""
        return self.connection.get(f"{_API}/runs/{_part(run_id)}")

    def create_run(self, run: Json) -> Json:
        """Start a run."""
        return self.connection.post(f"{_API}/runs", run)

    def terminate(self, run_id: str) -> None:
        """Ask for a run to be ended."""
        self.connection.post(f"{_API}/runs/{_part(run_id)}:terminate")

    def pod_log(self, run_id: str, pod: str) -> str:
        """Return the log of a run's pod."""
        return self.connection.get_text(f"/apis/v1alpha1/runs/{_part(run_id)}/nodes/{_part(pod)}/log")

    def schedules(self, name: str) -> list[Json]:
        """Return the recurring runs of that name, in whatever experiment, oldest first. The API lets several have one name."""
        query: Query = {"sort_by": "created_at asc", "page_size": 100, **_filter({"display_name": name}), **self._scope()}
        found = self.connection.pages(f"{_API}/recurringruns", "recurringRuns", query)
        return [schedule for schedule in found if schedule.get("display_name") == name]

    def create_schedule(self, schedule: Json) -> Json:
        """Create a recurring run."""
        return self.connection.post(f"{_API}/recurringruns", schedule)

    def switch_schedule(self, recurring_run_id: str, on: bool) -> None:
        """Enable or disable a recurring run. Its runs go on."""
        self.connection.post(f"{_API}/recurringruns/{_part(recurring_run_id)}:{'enable' if on else 'disable'}")

    def delete_schedule(self, recurring_run_id: str) -> None:
        """Delete a recurring run. Its runs stay, but an API that does not know ORPHAN yet ends those that are not finished."""
        self.connection.delete(f"{_API}/recurringruns/{_part(recurring_run_id)}", propagation_policy="ORPHAN")

    def page(self, kind: str, identifier: str) -> str:
        """Return the address of the UI's page of a run (`runs`) or a schedule (`recurringrun`)."""
        return f"{self.connection.host}/#/{kind}/details/{_part(identifier)}"

    def _scope(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _named(self, path: str, key: str, name: str, scope: dict[str, str]) -> Json | None:
        """The one object of a name. An API from before the field `name` gives its name in `display_name` alone."""
        for item in self.connection.pages(path, key, {"page_size": 100, **_filter({"name": name}), **scope}):
            if (item.get("name") or item.get("display_name")) == name:
                return item
        return None


def _filter(wanted: dict[str, str | None]) -> dict[str, str]:
    """The query that keeps what equals; the API decodes it a second time, so that `+` and `%` need a second encoding."""
    predicates = [
        {"operation": "EQUALS", "key": key, "string_value": value} for key, value in wanted.items() if value is not None
    ]
    return {"filter": quote(json.dumps({"predicates": predicates}), safe="")} if predicates else {}


def _part(identifier: str) -> str:
    """An id as one part of an address, whatever it holds."""
    if not identifier or not identifier.strip("."):
        raise InputError(f"{identifier!r} is no id of anything in Kubeflow")
    return quote(identifier, safe="")
