"""Telling people that a task has failed: by a webhook and by e-mail, through Airflow's own connections."""

import html
import json
import logging
import smtplib
import urllib.request
from typing import Any

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

WEBHOOK, MAIL = "cavmae_webhook", "cavmae_mail"  # connections; without them nobody is told
RECIPIENTS = "cavmae_mail_to"  # variable: addresses with commas between
_PATIENCE_S = 20
_LONGEST = 1000  # letters of what went wrong

log = logging.getLogger(__name__)


def tell(context: Any) -> None:
    """Tell of a task that failed for good. What goes wrong here is logged, and changes nothing."""
    task = context["task_instance"]
    said = {
        "dag": task.dag_id,
        "task": task.task_id,
        "run": task.run_id,
        "try": task.try_number,
        "error": str(context.get("exception") or "")[:_LONGEST],
        "log": getattr(task, "log_url", ""),
    }
    for name, way in ((WEBHOOK, _post), (MAIL, _mail)):
        try:
            connection = BaseHook.get_connection(name)
        except AirflowNotFoundException:
            continue
        try:
            way(connection, said)
        except (OSError, ValueError, RuntimeError, smtplib.SMTPException, AirflowException) as error:
            log.warning("%s could not be told: %s", name, type(error).__name__)  # its words may hold the address, a secret
        else:
            log.info("told %s", name)


def _post(connection: Any, said: dict[str, Any]) -> None:
    """Send it as JSON; `text` is what chat services show."""
    headers = {"Content-Type": "application/json"}
    if connection.password:
        headers["Authorization"] = f"Bearer {connection.password}"
    body = json.dumps({"text": _sentence(said), **said}).encode()
    request = urllib.request.Request(_address(connection), body, headers)  # noqa: S310 - the scheme is checked
    with urllib.request.urlopen(request, timeout=_PATIENCE_S):  # noqa: S310
        pass


def _address(connection: Any) -> str:
    """The web address of a connection: `schema` is a protocol in Airflow's form, and a path where an address was given whole."""
    host, schema = connection.host or "", connection.schema or ""
    protocol = schema if schema in ("http", "https") else "http" if connection.conn_type == "http" else "https"
    address = host if "://" in host else f"{protocol}://{host}{f':{connection.port}' if connection.port else ''}"
    if schema not in ("", "http", "https"):
        address = f"{address.rstrip('/')}/{schema.lstrip('/')}"
    if not host or not address.startswith(("http://", "https://")):
        raise ValueError(f"{WEBHOOK} holds no web address")
    return address


def _mail(_: Any, said: dict[str, Any]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    recipients = [address.strip() for address in Variable.get(RECIPIENTS, default="").split(",") if address.strip()]
    if not recipients:
        raise ValueError(f"the variable {RECIPIENTS} is empty")
    lines = [_sentence(said), f"run: {said['run']}", f"log: {said['log']}"]
    with SmtpHook(smtp_conn_id=MAIL) as hook:
        hook.send_email_smtp(
            to=recipients,
            subject=f"{said['dag']}: {said['task']} has failed",
            from_email=hook.from_email or "airflow@localhost",
            html_content="<br>\n".join(html.escape(line) for line in lines),
        )


def _sentence(said: dict[str, Any]) -> str:
    return f"{said['dag']}: task {said['task']} has failed at try {said['try']}: {said['error'] or 'see its log'}"
