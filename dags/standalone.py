"""`python -m dags.standalone`: Airflow on this machine, with these DAGs, everything in one folder; for trying, not for serving.

    .venv-airflow/bin/python -m dags.standalone [--home .airflow] [--port 8080] [--project .]

The page is at http://localhost:PORT; its generated password is shown once, at the first start. Ctrl-C ends all of it.
"""

import argparse
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def environment(home: Path, port: int, project: Path) -> dict[str, str]:
    """The variables of an Airflow that keeps to `home` and `port` and trains in `project`."""
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
        "AIRFLOW_VAR_CAVMAE_PROJECT": str(project.resolve()),
        "PYTHONPATH": str(_HERE.parent),  # a trigger is imported by a process that knows no folder of DAGs
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def main() -> None:
    """Become `airflow standalone`."""
    parser = argparse.ArgumentParser(prog="python -m dags.standalone", description="Airflow on this machine, with these DAGs.")
    parser.add_argument("--home", type=Path, default=Path(".airflow"), metavar="DIR", help="its folder (default .airflow)")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="of its page (default 8080)")
    parser.add_argument("--project", type=Path, default=_HERE.parent, metavar="DIR", help="checkout to train in")
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(options.home, options.port, options.project))
    program = str(Path(sys.executable).parent / "airflow")
    os.execv(program, [program, "standalone"])  # noqa: S606


if __name__ == "__main__":
    main()
