"""A real Airflow on this machine: its parts as processes of their own, spoken to by REST."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dags.standalone import PARTS, PASSWORDS, Parts, environment
from tests.conftest import REPOSITORY

ENVIRONMENT = REPOSITORY / ".venv-airflow"
NEEDED = [
    pytest.mark.airflow,
    pytest.mark.skipif(not ENVIRONMENT.is_dir(), reason=f"{ENVIRONMENT.name} is not there; `make test-airflow` makes it"),
]
_PATIENCE_S = 180.0
_SOON = ("ORPHANED_TASKS_CHECK_INTERVAL", "SCHEDULER_HEALTH_CHECK_THRESHOLD", "TASK_INSTANCE_HEARTBEAT_TIMEOUT")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_airflow(program: str, given: Any) -> Any:
    """Run a program in Airflow's own environment with `given` as JSON in its first argument; return its last line, from JSON."""
    done = subprocess.run(
        [str(ENVIRONMENT / "bin" / "python"), "-c", program, json.dumps(given)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


class Airflow:
    """Started with `start`, ended with `stop`; `kill` ends one part as a lost machine does."""

    def __init__(self, home: Path, project: Path, **more: str) -> None:
        self.home, self.port, self._token = home, free_port(), ""
        home.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON", "CAVMAE"))}
        self._environment = kept | environment(home, self.port, project)
        self._environment["PATH"] = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self._environment |= {"AIRFLOW_VAR_CAVMAE_PYTHON": sys.executable, "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
        # what a lost scheduler ran is taken over within seconds, not minutes
        self._environment |= {f"AIRFLOW__SCHEDULER__{name}": "20" for name in _SOON}
        self._environment |= {"CAVMAE_RETRY_S": "5", "CAVMAE_CHECK_CRON": "0 0 1 1 *", **more}
        self._parts = Parts(ENVIRONMENT / "bin" / "airflow", home, self._environment)

    def start(self) -> None:
        """Make the database and start all parts; return when they are healthy."""
        self._parts.migrate()
        for part in PARTS:
            self.begin(part)
        self.wait(self._healthy)
        password = json.loads((self.home / PASSWORDS).read_text())["admin"]
        self._token = self.call("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]
        self.wait(lambda: self.call("GET", "/api/v2/dags")["total_entries"] == 2)

    def begin(self, part: str) -> None:
        """Start a part."""
        self._parts.begin(part)

    def kill(self, part: str) -> None:
        """End a part and its children at once, as a lost machine does."""
        self._parts.kill(part)

    def stop(self) -> None:
        """End all parts."""
        self._parts.stop()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG, the oldest first."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?order_by=run_after&limit=100")["dag_runs"]
        return found

    def tasks(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task of a run."""
        found = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def start_run(self, dag: str, **form: Any) -> str:
        """Start a run by hand, with values of its form, and return its id."""
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": form})["dag_run_id"])

    def refused(self, dag: str, **form: Any) -> bool:
        """Whether a run by hand with these values is refused as wrong input."""
        try:
            self.start_run(dag, **form)
        except urllib.error.HTTPError as error:
            return error.code in (400, 422)
        return False

    def trigger(self, dag: str, **form: Any) -> dict[str, Any]:
        """The same, and return it when it is over."""
        return self.ended(dag, self.start_run(dag, **form))

    def asset_event(self, name: str, **extra: str) -> None:
        """Change an asset, as a data team's CI would; `extra` comes with the event."""
        found = self.call("GET", f"/api/v2/assets?name_pattern={name}")["assets"]
        self.call("POST", "/api/v2/assets/events", {"asset_id": found[0]["id"], "extra": extra})

    def fail(self, dag: str, run: str, task: str) -> None:
        """Mark a task failed."""
        self.call("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}", {"new_state": "failed"})

    def clear(self, dag: str, run: str, task: str) -> None:
        """Clear a task and what comes after it."""
        body = {"dry_run": False, "dag_run_id": run, "task_ids": [task], "include_downstream": True, "only_failed": False}
        self.call("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)

    def ended(self, dag: str, run: str, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """Return a run when it is over."""
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}"))
            return found["state"] in ("success", "failed")

        self.wait(over, patience_s)
        return found

    def result(self, dag: str, run: str, task: str) -> Any:
        """What a task returned."""
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value")["value"]

    def log(self, dag: str, run: str, task: str) -> str:
        """What the log of a task's tries holds."""
        folder = self.home / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}"
        return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))

    def words(self) -> str:
        """What the parts said last, for a test that fails."""
        return "\n".join(f"== {part}\n{(self.home / f'{part}.log').read_text(errors='replace')[-2000:]}" for part in PARTS)

    def _healthy(self) -> bool:
        try:
            found = self.call("GET", "/api/v2/monitor/health")
        except (urllib.error.URLError, OSError):
            return False
        parts = [found.get(name) or {} for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")]
        return all(part.get("status") == "healthy" for part in parts)

    def wait(self, condition: Callable[[], object], patience_s: float = _PATIENCE_S) -> None:
        """Return when the condition holds."""
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, self.words()
            time.sleep(1)
