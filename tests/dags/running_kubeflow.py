"""A Kubeflow that really runs what it is sent: the uploaded package, with the run's parameters, as processes on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.pipelines.fake_kubeflow import FakeKubeflow, Json, Sent


@dataclass
class RunningKubeflow(FakeKubeflow):
    """`work` holds what the runs make: packages, parameters, logs, one cache for all. While it is `slow`, new runs never end."""

    work: Path = Path()
    slow: bool = False
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def log(self, run_id: str) -> str:
        """What a run has said so far."""
        return (self.work / f"{run_id}.log").read_text(errors="replace")

    def states(self) -> list[str]:
        """The states of all runs, the oldest first."""
        return [run["state"] for run in sorted(self.runs.values(), key=lambda run: str(run["created_at"]))]

    def stop(self) -> None:
        """End what goes on."""
        for process in self.processes.values():
            _end(process)

    def terminate(self, run_id: str) -> None:
        """End a run as a person does in Kubeflow's own pages."""
        self.runs[run_id]["state"] = "CANCELING"
        _end(self.processes[run_id])

    def _create_run(self, sent: Sent) -> tuple[int, Any]:
        status, run = super()._create_run(sent)
        if status == 200:
            self._begin(run)
        return status, run

    def _begin(self, run: Json) -> None:
        run_id = run["run_id"]
        package, parameters = self.work / f"{run_id}.yaml", self.work / f"{run_id}.json"
        package.write_text(self.packages[run["pipeline_version_reference"]["pipeline_version_id"]])
        parameters.write_text(json.dumps(run["runtime_config"]["parameters"]))
        words = [sys.executable, "-m", "tests.dags.run_package", str(package), str(parameters), run_id, str(self.work / "work")]
        words = [sys.executable, "-c", "import time; time.sleep(3600)"] if self.slow else words
        with (self.work / f"{run_id}.log").open("wb") as log:
            process = subprocess.Popen(
                words,
                cwd=REPOSITORY,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[run_id] = process
        run["state"] = "RUNNING"
        threading.Thread(target=self._wait, args=(run, process), daemon=True).start()

    def _wait(self, run: Json, process: "subprocess.Popen[bytes]") -> None:
        code = process.wait()
        run["finished_at"] = self.stamp()
        if code:
            run["error"] = {"message": (self.log(run["run_id"]).strip().splitlines() or [""])[-1]}
        cancelled = "CANCELED" if run["state"] == "CANCELING" else "FAILED"
        run["state"] = cancelled if code else "SUCCEEDED"

    def _terminate(self, sent: Sent, run_id: str) -> tuple[int, Any]:
        process = self.processes.get(run_id)
        if process is not None and process.poll() is not None:
            return 200, {}
        answer = super()._terminate(sent, run_id)
        if process is not None:
            _end(process)
        return answer


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # as a pod that is taken away
