"""The checkout that a worker trains in, and running its commands: Airflow's own environment needs nothing of the project's."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

PROJECT, PYTHON = "cavmae_project", "cavmae_python"  # Airflow variables
Say = Callable[[str], None]
_WRONG_INPUT = 2
_TETHER = Path(__file__).resolve().with_name("tether.py")
_PATIENCE_S = 65.0  # how long a command that was asked to stop may take; after 60 s its tether ends it


@dataclass(frozen=True)
class Project:
    """Where the commands run, and by which Python."""

    folder: Path
    python: Path

    @classmethod
    def of_variables(cls) -> "Project":
        """As the Airflow variables say; the checkout that these DAGs lie in, and its .venv, where they say nothing."""
        here = Path(__file__).resolve().parent.parent
        folder = Path(Variable.get(PROJECT, default=str(here)))
        python = Path(Variable.get(PYTHON, default=str(folder / ".venv" / "bin" / "python")))
        if not (folder / "dvc.yaml").is_file():
            raise AirflowFailException(f"{folder}: holds no dvc.yaml; set the Airflow variable {PROJECT} to a checkout")
        if not python.is_file():
            raise AirflowFailException(f"{python}: no such file; run `make setup` there, or set the Airflow variable {PYTHON}")
        return cls(folder, python)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The variables of a command: without Airflow's, with the project's own programs first."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW", "PYTHON"))}
        return kept | {"PATH": f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}", "PYTHONUNBUFFERED": "1", **more}


class Command:
    """A command of the project in a process group of its own, which ends with this process; its words go to the task's log."""

    def __init__(self, project: Project, words: list[str], more: Mapping[str, str], say: Say) -> None:
        self._say = say
        self._process = subprocess.Popen(
            [str(project.python), str(_TETHER), str(os.getpid()), str(project.python), *words],
            cwd=project.folder,
            env=project.environment(more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def output(self, hear: Say | None = None) -> str:
        """Wait for the end; return what it printed, whose lines `hear` gets as they come.

        Raises AirflowFailException where its input is wrong, which no retry mends, and AirflowException where it failed; both
        with its last words.
        """
        last = ""

        def tell() -> None:
            nonlocal last
            assert self._process.stderr is not None
            for line in self._process.stderr:
                if line.strip():
                    last = line.strip()
                    self._say(last)

        teller = threading.Thread(target=tell)
        teller.start()
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if hear is not None and line.strip():
                hear(line.rstrip())
        code = self._process.wait()
        teller.join()
        if code == 0:
            return "".join(lines)
        kind = AirflowFailException if code == _WRONG_INPUT else AirflowException
        raise kind(f"exit code {code}: {last or 'it said nothing'}")

    def answer(self) -> Any:
        """Wait for the end; return what it printed, from JSON. Raises as `output`."""
        return json.loads(self.output())

    def stop(self) -> None:
        """Ask all its processes to stop, give them time to save their state, then end what is left."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
