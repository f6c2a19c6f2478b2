"""The nodes of a TrainJob as processes of this machine: what Kubeflow Trainer and Kubernetes make of the document, in small."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.components.api_server import ApiServer, ended


class Machines:
    """Starts a job's command once a node when the job is first looked at, and shows its processes as pods."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._folder = folder
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}
        self.runs = 0
        server.play = [self._look]
        server.on_delete = lambda server, job: self.stop(job)

    def stop(self, job: str = "") -> None:
        """Take every machine away, as a deleted job's are: SIGTERM, and then waiting."""
        for node in self._nodes.values():
            if node.poll() is None:
                node.terminate()
        for node in self._nodes.values():
            node.wait(60)
        self._nodes.clear()

    def kill(self, node: int, number: signal.Signals) -> None:
        """Send a signal to what runs on one machine."""
        self._nodes[node].send_signal(number)

    def _look(self, server: ApiServer, job: str) -> None:
        trainer = server.jobs[job]["spec"]["trainer"]
        if "deletionTimestamp" in server.jobs[job]["metadata"]:
            return
        if not self._nodes and "status" not in server.jobs[job]:
            self.runs += 1
            port = _free_port()
            for node in range(trainer["numNodes"]):
                self._nodes[node] = self._start(trainer, node, port)
        codes = {node: process.poll() for node, process in self._nodes.items()}
        for node, code in codes.items():
            lines = (self._folder / f"node-{node}.log").read_text().splitlines()
            if code is None:
                pod = server.pod(job, node, "Running", state={"running": {}})
            else:  # Kubernetes keeps the end of the log where the runtime asks for it
                state = ended(code, "\n".join(lines[-20:]) if code else None)
                pod = server.pod(job, node, "Failed" if code else "Succeeded", state=state)
            server.logs[pod] = []
            server.say(pod, *lines)
        if codes and all(code == 0 for code in codes.values()):
            server.condition(job, "Complete", "jobset completed successfully")
        elif any(codes.values()):
            server.condition(job, "Failed", "jobset failed due to one or more job failures")

    def _start(self, trainer: dict[str, Any], node: int, port: int) -> subprocess.Popen[bytes]:
        here = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "HOME") if name in os.environ}
        given = {entry["name"]: _expanded(entry["value"], {}) for entry in trainer["env"] if "value" in entry}
        torch = {
            "PET_NNODES": str(trainer["numNodes"]),
            "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_NODE_RANK": str(node),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
        }
        assert trainer["command"][0] == "python"
        words = [_expanded(word, {**given, **torch}) for word in (*trainer["command"][1:], *trainer["args"])]
        with (self._folder / f"node-{node}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *words],
                env=here | given | torch,
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _expanded(text: str, values: dict[str, str]) -> str:
    """What Kubernetes makes of `$(NAME)` and `$$`."""
    return re.sub(r"\$\$|\$\(([A-Za-z_]\w*)\)", lambda found: "$" if found[0] == "$$" else values.get(found[1], found[0]), text)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
