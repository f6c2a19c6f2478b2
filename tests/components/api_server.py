"""What a TrainJob's follower needs of a Kubernetes API server: it records what it is asked and plays what a test says."""

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

NAMESPACE = "team"
_JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
Act = Callable[["ApiServer", str], None]


class ApiServer:
    """Serves TrainJobs, pods and logs; each look at a job lets one act of the play happen, the last one stays."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[str]] = {}
        self.play: list[Act] = []
        self.asked: list[tuple[str, str]] = []  # verb and path
        self.posted: list[dict[str, Any]] = []
        self.faults: list[tuple[str, int, str]] = []  # verb, status and body of answers that come first, each once
        self.silent_machines = 0  # so many reads of a log fail
        self.unknown: list[str] = []  # fields of a job's specification that are dropped
        self.looks_until_gone = 1
        self.on_delete: Act = lambda server, name: None
        self.wrong: list[BaseException] = []  # what went wrong in here, or was asked for wrongly
        self._clock = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._handle(self, "GET")

            def do_POST(self) -> None:
                outer._handle(self, "POST")

            def do_PATCH(self) -> None:
                outer._handle(self, "PATCH")

            def do_DELETE(self) -> None:
                outer._handle(self, "DELETE")

            def log_message(self, *words: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def write_config(self, path: Path) -> Path:
        """Write what points a client here."""
        here = {"server": f"http://127.0.0.1:{self._http.server_port}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": NAMESPACE}}],
            "clusters": [{"name": "here", "cluster": here}],
            "users": [{"name": "me", "user": {}}],
        }
        path.write_text(json.dumps(config))
        return path

    def made(self, verb: str) -> int:
        """How often something was asked of TrainJobs."""
        return sum(asked == verb and "/trainjobs" in path for asked, path in self.asked)

    def pod(self, job: str, node: int, phase: str, attempt: int = 0, **status: Any) -> str:
        """Put a node's pod into a phase; `state` is its container's."""
        name = f"{job}-node-0-{node}-{attempt}"
        self._clock += 1
        known = self.pods.get(name)
        state = status.pop("state", None)
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "creationTimestamp": known["metadata"]["creationTimestamp"] if known else f"2026-01-01T00:00:{self._clock:02d}Z",
                "labels": {
                    "jobset.sigs.k8s.io/jobset-name": job,
                    "batch.kubernetes.io/job-completion-index": str(node),
                    "jobset.sigs.k8s.io/restart-attempt": str(attempt),
                },
            },
            "spec": {"nodeName": f"gpu-{node}", "containers": [{"name": "node"}]},
            "status": {
                "phase": phase,
                **({"containerStatuses": [_container(state)]} if state else {}),
                **status,
            },
        }
        return name

    def say(self, pod: str, *lines: str) -> None:
        """Let a pod print lines."""
        written = self.logs.setdefault(pod, [])
        written += [f"2026-01-01T00:01:00.{len(written) + at:09d}Z {line}" for at, line in enumerate(lines)]

    def condition(self, job: str, kind: str, message: str = "") -> None:
        """Let a condition of a job hold."""
        conditions = self.jobs[job].setdefault("status", {}).setdefault("conditions", [])
        if kind not in [condition["type"] for condition in conditions]:
            conditions.append({"type": kind, "status": "True", "reason": kind, "message": message})

    def _handle(self, handler: BaseHTTPRequestHandler, verb: str) -> None:
        url = urlparse(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append((verb, handler.path))
        for fault in self.faults:
            if fault[0] == verb:
                self.faults.remove(fault)
                if fault[1] == 0:  # hangs up
                    handler.close_connection = True
                    return
                _answer(handler, fault[1], fault[2])
                return
        try:
            status, document = self._serve(verb, url.path, parse_qs(url.query), json.loads(body) if body else None, handler)
        except Exception as error:
            self.wrong.append(error)
            raise
        _answer(handler, status, document if isinstance(document, str) else json.dumps(document))

    def _serve(
        self, verb: str, path: str, query: dict[str, list[str]], body: Any, handler: BaseHTTPRequestHandler
    ) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if path == _JOBS and verb == "POST":
            self.posted.append(body)
            if (own := body["metadata"]["name"]) in self.jobs:
                return 409, status_of(409, f'trainjobs.trainer.kubeflow.org "{own}" already exists')
            self.jobs[own] = json.loads(json.dumps(body))
            for field in self.unknown:
                del self.jobs[own]["spec"][field]
            return 201, self.jobs[own]
        if path.startswith(_JOBS + "/"):
            if name not in self.jobs:
                return 404, status_of(404, f'trainjobs.trainer.kubeflow.org "{name}" not found')
            return 200, self._job(verb, name, body, handler)
        if path == _PODS:
            chosen = query["labelSelector"][0].partition("=")
            items = [pod for pod in self.pods.values() if pod["metadata"]["labels"].get(chosen[0]) == chosen[2]]
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        if found := re.fullmatch(re.escape(_PODS) + r"/([^/]+)/log", path):
            assert query["container"] == ["node"] and query["timestamps"] == ["True"], query
            if self.silent_machines:
                self.silent_machines -= 1
                return 500, status_of(500, "dial tcp 10.0.0.7:10250: connect: no route to host")
            lines = self.logs.get(found[1])
            return (400, status_of(400, "container is waiting to start")) if lines is None else (200, "\n".join(lines) + "\n")
        if path.startswith(_PODS + "/") and name in self.pods:
            return 200, self.pods[name]
        return 404, status_of(404, f'pods "{name}" not found')

    def _job(self, verb: str, name: str, body: Any, handler: BaseHTTPRequestHandler) -> Any:
        job = self.jobs[name]
        if verb == "DELETE":
            assert body["propagationPolicy"] == "Foreground", body
            job["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            job["looks"] = self.looks_until_gone
            self.on_delete(self, name)
        elif verb == "PATCH":
            assert handler.headers["Content-Type"] == "application/merge-patch+json", handler.headers["Content-Type"]
            assert list(body) == ["metadata"], body
            job["metadata"] |= body["metadata"]
        elif "looks" in job:
            job["looks"] -= 1
            if job["looks"] < 0:
                del self.jobs[name]
                return {}
        elif self.play:
            act = self.play[0] if len(self.play) == 1 else self.play.pop(0)
            act(self, name)
        return job


def status_of(code: int, message: str) -> dict[str, Any]:
    """An error as Kubernetes words it."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def ended(code: int, message: str | None = None, reason: str = "Error") -> dict[str, Any]:
    """The state of a container that has ended."""
    return {"terminated": {"exitCode": code, "reason": reason, **({"message": message} if message else {})}}


def _container(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "node", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}


def _answer(handler: BaseHTTPRequestHandler, status: int, text: str) -> None:
    content = text.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something to become true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not become true"
        time.sleep(0.02)
