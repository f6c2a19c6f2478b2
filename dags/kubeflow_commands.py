"""`python -m pipelines` against the Kubeflow that a connection of Airflow's names."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from dags.project import Command, Project, Say

CONNECTION = "cavmae_kubeflow"
_EXTRAS = ("namespace", "token_file", "service_account", "cookie_file", "ca_file", "plain_http", "dex_connector")


def has_kubeflow() -> bool:
    """Whether a connection to a Kubeflow is set."""
    try:
        BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return False
    return True


def command(words: Sequence[str], say: Say) -> Command:
    """Start `python -m pipelines WORDS --json`. Secrets go by variables: they stand in no command line, log or trigger."""
    return Command(Project.of_variables(), ["-m", "pipelines", *words, "--json"], _environment(), say)


def answer(words: Sequence[str], say: Say) -> Any:
    """What such a command printed, from JSON. Raises as `Command.output`."""
    return command(words, say).answer()


def _environment() -> dict[str, str]:
    connection = BaseHook.get_connection(CONNECTION)
    host = connection.host or ""
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}{f':{connection.port}' if connection.port else ''}"
    given = {"CAVMAE_KFP_HOST": host, "CAVMAE_KFP_USERNAME": connection.login, "CAVMAE_KFP_PASSWORD": connection.password}
    extra = connection.extra_dejson
    given |= {f"CAVMAE_KFP_{key.upper()}": extra[key] for key in _EXTRAS if extra.get(key)}
    return {name: str(value) for name, value in given.items() if value}
