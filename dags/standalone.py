"""`python -m dags.standalone`: Airflow on this machine, with these DAGs, everything in one folder; for trying, not for serving.

Its parts write to logs below that folder. Ctrl-C ends all of them, and what they run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
PASSWORDS = "simple_auth_manager_passwords.json.generated"  # Airflow's own name for it
_PATIENCE_S = 20.0
_START_S = 120.0


def environment(home: Path, port: int, project: Path) -> dict[str, str]:
    """The variables of an Airflow that keeps to `home` and to `port` and the two after it, and trains in `project`."""
    url = f"http://localhost:{port}"
    return {
        "AIRFLOW_HOME": str(home.resolve()),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_HERE),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(port + 1),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port + 2),
        "AIRFLOW_VAR_CAVMAE_PROJECT": str(project.resolve()),
        "PYTHONPATH": str(_HERE.parent),  # a trigger is imported by a process that knows no folder of DAGs
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


class Parts:
    """Airflow's parts as processes, each in a session of its own, so that a terminal's Ctrl-C reaches us alone."""

    def __init__(self, program: Path, home: Path, variables: dict[str, str]) -> None:
        self.home = home
        self._program, self._variables = str(program), variables
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def migrate(self) -> None:
        """Make the database, or bring it up to date."""
        with (self.home / "migrate.log").open("ab") as log:
            subprocess.run([self._program, "db", "migrate"], env=self._variables, stdout=log, stderr=log, check=True)

    def begin(self, part: str) -> None:
        """Start a part."""
        with (self.home / f"{part}.log").open("ab") as log:
            self._running[part] = subprocess.Popen(
                [self._program, part], env=self._variables, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, part: str) -> None:
        """End a part and its children at once."""
        os.killpg(self._running[part].pid, signal.SIGKILL)
        self._running.pop(part).wait()

    def ended(self) -> str | None:
        """The name of a part that has ended by itself, where there is one."""
        return next((part for part, process in self._running.items() if process.poll() is not None), None)

    def stop(self) -> None:
        """Ask all parts to end, then end what is left of them and their children."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for process in self._running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                continue
        for process in self._running.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


def main() -> int:
    """Start all parts, tell where the page is, and end them when asked to; 1 where one of them ends by itself."""
    parser = argparse.ArgumentParser(prog="python -m dags.standalone", description="Airflow on this machine, with these DAGs.")
    parser.add_argument("--home", type=Path, default=Path(".airflow"), metavar="DIR", help="its folder (default .airflow)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="of its page (default 8080); logs use the next two")
    parser.add_argument("--project", type=Path, default=_HERE.parent, metavar="DIR", help="checkout to train in")
    options = parser.parse_args()
    home: Path = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    first = not (home / PASSWORDS).exists()
    variables = {**os.environ, **environment(home, options.port, options.project)}
    parts = Parts(Path(sys.executable).parent / "airflow", home, variables)
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT as well: a shell's background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    try:
        _say(f"starting Airflow; its logs are {home}/*.log")
        parts.migrate()
        for part in PARTS:
            parts.begin(part)
        deadline = time.monotonic() + _START_S
        while not (home / PASSWORDS).exists() and parts.ended() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        if first and (home / PASSWORDS).exists():
            password = json.loads((home / PASSWORDS).read_text(encoding="utf-8"))["admin"]
            _say(f"user admin, password {password}; shown this once, kept in {home / PASSWORDS}")
        _say(f"http://localhost:{options.port} in a moment; Ctrl-C ends it")
        while parts.ended() is None:
            time.sleep(1)
        _say(f"{parts.ended()} has ended; see {home}/{parts.ended()}.log")
        return 1
    except subprocess.CalledProcessError:
        _say(f"the database cannot be made; see {home}/migrate.log")
        return 1
    except KeyboardInterrupt:
        _say("ending")
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing
        parts.stop()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
