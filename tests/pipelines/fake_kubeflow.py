"""A server that behaves as the Kubeflow Pipelines API does, records what it was sent, and can be put in bad moods.

What it takes and gives is held against kfp_server_api, the client that kfp generates from the API's own description: a field that
the API does not know is refused, as its gateway refuses it. Filters are decoded twice, as the API decodes them.
"""

import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, unquote_plus

import kfp_server_api

Json = dict[str, Any]
API = "/apis/v2beta1"


@dataclass
class Sent:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    at: datetime  # by the server's clock


@dataclass
class Mood:
    """What happens to requests that `what` (`POST /path`) matches: before they are carried out, or (`late`) after it."""

    what: re.Pattern[str]
    act: int | str | Callable[[BaseHTTPRequestHandler], None]
    late: bool
    times: int


@dataclass
class FakeKubeflow:
    """The API's state. Change it in a test as a cluster would."""

    multi_user: bool = False
    token: str | None = None  # what must be sent as a bearer token
    session: str | None = None  # what the cookie `session` must hold; who has none is sent to sign in
    orphans: bool = True  # whether deleting a schedule leaves its runs alone
    clock: timedelta = timedelta()
    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    moods: list[Mood] = field(default_factory=list)
    pipelines: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    recurring: dict[str, Json] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    pages: Callable[[BaseHTTPRequestHandler, str, dict[str, str], str], bool] | None = None
    _count: Iterator[int] = field(default_factory=lambda: itertools.count())

    def mood(self, what: str, act: int | str | Callable[[Any], None], late: bool = False, times: int = 10**6) -> None:
        """Be in a mood: a status to answer with, `drop` the connection, or `slow`."""
        self.moods.append(Mood(re.compile(what), act, late, times))

    def writes(self) -> list[str]:
        """What was sent that changes something."""
        return [f"{sent.method} {sent.path}" for sent in self.sent if sent.method != "GET"]

    def bodies(self, what: str) -> list[Any]:
        """The bodies that were sent to `POST /path`."""
        return [sent.body for sent in self.sent if re.fullmatch(what, f"{sent.method} {sent.path}")]

    def now(self) -> datetime:
        """The server's own time."""
        return datetime.now(UTC) + self.clock

    def stamp(self) -> str:
        """A time as the API writes it, later each time."""
        return (self.now() + timedelta(milliseconds=next(self._count))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    # what the API does

    def carry_out(self, sent: Sent) -> tuple[int, Any]:
        """Return status and answer of a request."""
        path = sent.path.removeprefix(API)
        verb = f"{sent.method} {path}"
        if sent.method == "GET" and path == "/healthz":
            return 200, {"multi_user": True} if self.multi_user else {}
        if match := re.fullmatch(r"GET /apis/v1alpha1/runs/[^/]+/nodes/([^/]+)/log", f"{sent.method} {sent.path}"):
            log = self.logs.get(unquote(match[1]))
            return (200, log) if log is not None else (500, {"error_message": "pod not found"})
        for pattern, act in self._routes():
            if match := re.fullmatch(pattern, verb):
                return act(sent, *map(unquote, match.groups()))
        return 404, {"code": 5, "message": "Not Found"}

    def _routes(self) -> list[tuple[str, Callable[..., tuple[int, Any]]]]:
        part = "/([^/:]+)"
        return [
            ("GET /pipelines", lambda sent: self._list(sent, self.pipelines, "pipelines")),
            ("POST /pipelines", self._create_pipeline),
            ("POST /pipelines/upload", self._upload_pipeline),
            ("POST /pipelines/upload_version", self._upload_version),
            (f"GET /pipelines{part}/versions", self._list_versions),
            ("GET /experiments", lambda sent: self._list(sent, self.experiments, "experiments")),
            ("POST /experiments", self._create_experiment),
            ("GET /runs", lambda sent: self._list(sent, self.runs, "runs")),
            ("POST /runs", self._create_run),
            (f"GET /runs{part}", lambda sent, key: self._one(self.runs, key)),
            (f"POST /runs{part}:terminate", self._terminate),
            ("GET /recurringruns", lambda sent: self._list(sent, self.recurring, "recurringRuns")),
            ("POST /recurringruns", self._create_recurring),
            (f"GET /recurringruns{part}", lambda sent, key: self._one(self.recurring, key)),
            (f"POST /recurringruns{part}:(enable|disable)", self._switch),
            (f"DELETE /recurringruns{part}", self._delete_recurring),
        ]

    def _one(self, items: dict[str, Json], key: str) -> tuple[int, Any]:
        if key not in items:
            return 404, {"error": "not found", "code": 5, "message": f"Failed to get: ResourceNotFoundError: {key} not found."}
        return 200, items[key]

    def _list(self, sent: Sent, items: dict[str, Json], key: str, scoped: bool = True) -> tuple[int, Any]:
        if scoped and self.multi_user and not sent.query.get("namespace"):
            return 400, {"code": 3, "message": "Invalid input error: a namespace is needed in multi-user mode"}
        if self.multi_user and sent.query.get("namespace") == "unknown":
            return 403, {"code": 7, "message": "User 'me' is not authorized with reason: forbidden in namespace unknown"}
        found = [item for item in items.values() if _fits(item, sent.query.get("filter", ""))]
        name, _, order = sent.query.get("sort_by", "").partition(" ")
        found.sort(key=lambda item: str(item.get(name or "created_at", "")), reverse=order == "desc")
        start, size = int(sent.query.get("page_token") or 0), int(sent.query.get("page_size") or 20)
        page: Json = {"total_size": len(found)}
        if found[start : start + size]:
            page[key] = found[start : start + size]
        if start + size < len(found):
            page["next_page_token"] = str(start + size)
        return 200, page

    def _list_versions(self, sent: Sent, pipeline_id: str) -> tuple[int, Any]:
        mine = {key: item for key, item in self.versions.items() if item["pipeline_id"] == pipeline_id}
        return self._list(sent, mine, "pipeline_versions", scoped=False)

    def _create_pipeline(self, sent: Sent) -> tuple[int, Any]:
        check("V2beta1Pipeline", sent.body)
        name = sent.body.get("name") or sent.body["display_name"]
        return self._add_pipeline(name, sent.body.get("namespace", ""), sent.body.get("description", ""))

    def _add_pipeline(self, name: str, namespace: str, description: str) -> tuple[int, Any]:
        if any(item["name"] == name and item["namespace"] == namespace for item in self.pipelines.values()):
            return 409, {"code": 6, "message": f"Already exist error: pipeline {name}"}
        return 200, self._keep(
            self.pipelines,
            "pipeline_id",
            {"name": name, "display_name": name, "namespace": namespace, "description": description},
        )

    def _upload_pipeline(self, sent: Sent) -> tuple[int, Any]:
        status, pipeline = self._add_pipeline(sent.query["name"], sent.query.get("namespace", ""), "")
        if status == 200:
            self._add_version(pipeline["pipeline_id"], sent.query["name"], "", sent.body)
        return status, pipeline

    def _upload_version(self, sent: Sent) -> tuple[int, Any]:
        if sent.query.get("pipelineid") not in self.pipelines:
            return 400, {"error_message": "Failed to create a pipeline version", "error_details": ""}
        return self._add_version(sent.query["pipelineid"], sent.query["name"], sent.query.get("description", ""), sent.body)

    def _add_version(self, pipeline_id: str, name: str, description: str, package: Any) -> tuple[int, Any]:
        if any(item["pipeline_id"] == pipeline_id and item["name"] == name for item in self.versions.values()):
            return 409, {"error_message": "Failed to create a pipeline version", "error_details": ""}
        version = {"pipeline_id": pipeline_id, "name": name, "display_name": name, "description": description}
        self._keep(self.versions, "pipeline_version_id", version)
        self.packages[version["pipeline_version_id"]] = package["uploadfile"]
        return 200, version

    def _create_experiment(self, sent: Sent) -> tuple[int, Any]:
        check("V2beta1Experiment", sent.body)
        name = sent.body["display_name"]
        if any(item["display_name"] == name for item in self.experiments.values()):
            return 409, {"code": 6, "message": f"Already exist error: experiment {name}"}
        return 200, self._keep(self.experiments, "experiment_id", {"storage_state": "AVAILABLE", **sent.body})

    def _create_run(self, sent: Sent) -> tuple[int, Any]:
        check("V2beta1Run", sent.body)
        if sent.body.get("experiment_id") not in self.experiments:
            return 404, {"code": 5, "message": "experiment not found"}
        run = {**sent.body, "state": "PENDING", "finished_at": "1970-01-01T00:00:00Z", "storage_state": "AVAILABLE"}
        return 200, self._keep(self.runs, "run_id", run)

    def _terminate(self, sent: Sent, run_id: str) -> tuple[int, Any]:
        if run_id in self.runs:
            self.runs[run_id]["state"] = "CANCELING"
        return self._one({key: {} for key in self.runs}, run_id)

    def _create_recurring(self, sent: Sent) -> tuple[int, Any]:
        check("V2beta1RecurringRun", sent.body)
        if (
            not 1 <= int(sent.body.get("max_concurrency", 0)) <= 10
            or len(sent.body["trigger"]["cron_schedule"]["cron"].split()) > 6
        ):
            return 400, {"code": 3, "message": "Invalid input error"}
        on = sent.body.get("mode") == "ENABLE"
        item = {"service_account": "pipeline-runner", **sent.body, "status": "ENABLED" if on else "DISABLED"}
        return 200, self._keep(self.recurring, "recurring_run_id", item)

    def _switch(self, sent: Sent, key: str, way: str) -> tuple[int, Any]:
        if key in self.recurring:
            self.recurring[key] |= {"status": f"{way.upper()}D", "mode": way.upper()}
        return self._one({key: {} for key in self.recurring}, key)

    def _delete_recurring(self, sent: Sent, key: str) -> tuple[int, Any]:
        if key not in self.recurring:
            return 404, {"code": 5, "message": "not found"}
        del self.recurring[key]
        if not (self.orphans and sent.query.get("propagation_policy") == "ORPHAN"):
            for run in self.runs.values():
                if run.get("recurring_run_id") == key and run["state"] == "RUNNING":
                    run["state"] = "FAILED"
        return 200, {}

    def _keep(self, items: dict[str, Json], key: str, item: Json) -> Json:
        item |= {key: str(uuid.uuid4()), "created_at": self.stamp()}
        items[item[key]] = item
        return item


class BadRequest(Exception):
    """What the API's gateway refuses before anything else."""


def check(model: str, value: Any) -> None:
    """Raise BadRequest where a body has a field that the API does not know, or a value that the API's description excludes."""
    kind = getattr(kfp_server_api, model)
    if unknown := set(value) - set(kind.attribute_map.values()):
        raise BadRequest(f"unknown field {sorted(unknown)[0]!r} in {model}")
    types = {kind.attribute_map[name]: of for name, of in kind.openapi_types.items()}
    for key, item in value.items():
        of = getattr(kfp_server_api, types[key], None)
        if of is None:
            fits = {"str": str, "bool": bool, "datetime": str}.get(types[key])
            fits = (str, int) if key == "max_concurrency" else fits  # an int64: JSON has it as either
            if fits and not isinstance(item, fits):
                raise BadRequest(f"{key} of {model} is not of type {types[key]}")
        elif of.attribute_map:
            check(types[key], item)
        elif item not in of.allowable_values:
            raise BadRequest(f"{item!r} is no {types[key]}")


def _fits(item: Json, text: str) -> bool:
    if not text:
        return True
    for predicate in json.loads(unquote_plus(text))["predicates"]:
        assert predicate["operation"] in ("EQUALS", 1) and predicate["key"] in (
            "name",
            "display_name",
            "recurring_run_id",
        ), predicate
        value = item.get(predicate["key"]) or item.get("display_name" if predicate["key"] == "name" else "")
        if value != (predicate.get("string_value") or predicate.get("stringValue")):
            return False
    return True
