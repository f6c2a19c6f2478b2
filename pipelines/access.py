"""Which Kubeflow, in which namespace, and as whom: from flags, else from the environment."""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import requests

from cavmae.errors import InputError
from pipelines.connection import Connection
from pipelines.cookies import read_cookies, read_secret
from pipelines.login import sign_in

IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")


class Setting(NamedTuple):
    """A flag, the variable that stands for it, and its help."""

    flag: str
    variable: str
    help: str
    switch: bool = False


SETTINGS = {
    "host": Setting(
        "--host", "CAVMAE_KFP_HOST", "address of the API, https://kubeflow.example.org/pipeline for a whole Kubeflow"
    ),
    "namespace": Setting("--namespace", "CAVMAE_KFP_NAMESPACE", "profile to work in; only where Kubeflow has several users"),
    "token_file": Setting("--token-file", "CAVMAE_KFP_TOKEN_FILE", "file with a bearer token, read anew for every request"),
    "service_account": Setting(
        "--service-account",
        "CAVMAE_KFP_SERVICE_ACCOUNT",
        "use the service account's token of the pod that this runs in (audience pipelines.kubeflow.org)",
        switch=True,
    ),
    "cookie_file": Setting("--cookie-file", "CAVMAE_KFP_COOKIE_FILE", "file with the session cookie of a signed-in browser"),
    "ca_file": Setting("--ca-file", "CAVMAE_KFP_CA_FILE", "certificates (PEM) of the authority that signed the host's"),
    "plain_http": Setting(
        "--plain-http", "CAVMAE_KFP_PLAIN_HTTP", "send tokens and passwords over http:// to a host that is not local", switch=True
    ),
}
USERNAME, PASSWORD, CONNECTOR = "CAVMAE_KFP_USERNAME", "CAVMAE_KFP_PASSWORD", "CAVMAE_KFP_DEX_CONNECTOR"
_WAYS = ("token_file", "service_account", "cookie_file")


def add_access_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of SETTINGS to a command."""
    group = parser.add_argument_group("connection (docs/kubeflow-remote.md)")
    for name, setting in SETTINGS.items():
        if setting.switch:
            group.add_argument(setting.flag, dest=name, action="store_true", default=None, help=_help(setting))
        else:
            group.add_argument(setting.flag, dest=name, metavar=name.rpartition("_")[2].upper(), help=_help(setting))


def _help(setting: Setting) -> str:
    return f"{setting.help} (else {setting.variable})"


class _Bearer(requests.auth.AuthBase):
    """Reads the token for each request: Kubernetes replaces that of a service account every hour."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = read_secret(self._path, self._what)
        if not token or not token.isascii() or any(letter.isspace() for letter in token):
            raise InputError(f"{self._what} {self._path}: holds no token")
        request.headers["Authorization"] = f"Bearer {token}"
        return request


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from looking for a password in ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def connect(options: argparse.Namespace, environment: Mapping[str, str] | None = None) -> tuple[Connection, str | None]:
    """Return the connection and the namespace that the options, or else the environment, ask for; nothing is sent yet.

    Raises InputError for a host that is missing or no web address, files that cannot be read, several credentials at once, or
    credentials that would travel in the clear.
    """
    given = os.environ if environment is None else environment
    values = {name: _value(name, setting, options, given) for name, setting in SETTINGS.items()}
    ways = _ways(values, options, given)
    host = _host(values["host"] or (IN_CLUSTER if "service_account" in ways else ""))
    if ways and not values["plain_http"] and not _private(host):
        raise InputError(f"{host}: credentials would travel unencrypted; use https://, or --plain-http where that is meant")
    verify: bool | str = ca_file(options, given) or True
    session = requests.Session()
    session.auth = _NoAuth()
    if "token_file" in ways:
        session.auth = _Bearer(Path(values["token_file"]), "token file")
    elif "service_account" in ways:
        session.auth = _Bearer(Path(given.get("KF_PIPELINES_SA_TOKEN_PATH") or _POD_TOKEN), "service account's token")
    elif "cookie_file" in ways:
        session.cookies.update(read_cookies(Path(values["cookie_file"]), host))
    opener = None
    if "login" in ways:
        opener = partial(sign_in, session, host, given[USERNAME], given[PASSWORD], verify, given.get(CONNECTOR) or "local")
    return Connection(host, session, verify, opener), values["namespace"] or None


def ca_file(options: argparse.Namespace, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the file of the authority whose certificates are taken besides those of the system; None for none."""
    given = os.environ if environment is None else environment
    path = _value("ca_file", SETTINGS["ca_file"], options, given)
    if path and not Path(path).is_file():
        raise InputError(f"--ca-file {path}: no such file")
    return path or None


def _value(name: str, setting: Setting, options: argparse.Namespace, given: Mapping[str, str]) -> str:
    """A flag stands over the environment; a switch is `1` or nothing."""
    value = getattr(options, name)
    if value is not None:
        return "1" if value is True else str(value)
    value = given.get(setting.variable, "").strip()
    if setting.switch and value.lower() not in ("", "0", "1", "true", "false"):
        raise InputError(f"{setting.variable}={value!r}: must be 1 or 0")
    return "" if setting.switch and value.lower() in ("0", "false") else value


def _ways(values: Mapping[str, str], options: argparse.Namespace, given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the one way to sign in, or none. One that a flag asks for stands over those of the environment."""
    flagged = [name for name in _WAYS if getattr(options, name) is not None]
    ways = flagged or [name for name in _WAYS if values[name]]
    if not flagged and (given.get(USERNAME) or given.get(PASSWORD)):
        if not (given.get(USERNAME) and given.get(PASSWORD)):
            raise InputError(f"{USERNAME} and {PASSWORD} belong together; set both or neither")
        ways.append("login")
    if len(ways) > 1:
        names = [USERNAME if way == "login" else f"{SETTINGS[way].flag} ({SETTINGS[way].variable})" for way in ways]
        raise InputError(f"several credentials are given: {', '.join(names)}; leave one")
    return tuple(ways)


def _host(text: str) -> str:
    if not text:
        raise InputError("no Kubeflow is named; give --host or set CAVMAE_KFP_HOST")
    host = (text if "://" in text else f"https://{text}").rstrip("/")
    parts = urlsplit(host)
    try:
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or not host.isprintable() or " " in host:
        raise InputError(f"--host {text!r}: is no address like https://kubeflow.example.org/pipeline")
    if "@" in parts.netloc:
        raise InputError("--host: a user or password does not belong in the address; see docs/kubeflow-remote.md for credentials")
    return host


def _private(host: str) -> bool:
    """Whether what is sent there stays on this machine or within the cluster, or is encrypted."""
    parts = urlsplit(host)
    name = parts.hostname or ""
    if parts.scheme == "https" or name == "localhost" or name.endswith((".svc", ".svc.cluster.local")):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
