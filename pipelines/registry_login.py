"""Asking an image registry as `docker login` left it: token challenge, basic authentication, credential helpers."""

import base64
import binascii
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from cavmae.errors import InputError, StepFailed
from cavmae.storage import read_json

_TIMEOUT_S = (10.0, 30.0)
_PARAMETER = re.compile(r'([A-Za-z]+)="([^"]*)"')
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Registry:
    """A registry, asked about one repository. http for one on this machine, https for all others."""

    def __init__(self, host: str, repository: str, verify: bool | str = True) -> None:
        self.host = host
        self._local = urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1", "::1")
        self.address = f"{'http' if self._local else 'https'}://{host}"
        self.credentials = "no login for it in docker's configuration"
        self._repository = repository
        self._verify = verify
        self._session = requests.Session()

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Return the answer to a GET, not read yet; a challenge is answered once, with a token or a password.

        Raises what requests raises, InputError and StepFailed where credentials or tokens cannot be had.
        """
        answer = self._ask(url, headers, None)
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        if answer.status_code != 401 or scheme.lower() not in ("bearer", "basic"):
            return answer
        user, password = self._login()
        if scheme.lower() == "bearer":
            authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)), user, password)}"
        elif user:
            authorization = _basic(user, password)
        else:
            return answer
        return self._ask(url, headers, authorization)

    def _ask(self, url: str, headers: dict[str, str], authorization: str | None, **query: str) -> requests.Response:
        # requests takes the header away where a redirect leads to another host
        return self._session.get(
            url,
            params=query,
            headers=headers,
            auth=_Header(authorization),
            timeout=_TIMEOUT_S,
            verify=self._verify,
            stream=True,
        )

    def _token(self, challenge: dict[str, str], user: str, password: str) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme != "https" and not self._local:
            raise StepFailed(f"{self.host}: asks for a password at {realm!r}, which is not https")
        query = {
            "scope": challenge.get("scope") or f"repository:{self._repository}:pull",
            "service": challenge.get("service", ""),
        }
        if user == "<token>":  # what some registries leave in place of a password is a refresh token
            form = {"grant_type": "refresh_token", "client_id": "cavmae", "refresh_token": password, **query}
            answer = self._session.post(realm, data=form, auth=_Header(None), timeout=_TIMEOUT_S, verify=self._verify)
        else:
            answer = self._ask(realm, {}, _basic(user, password) if user else None, **query)
        if answer.status_code in (401, 403):
            raise InputError(
                f"{self.host}: gives no token to read {self._repository}; {self.credentials}; docker login {self.host}"
            )
        try:
            value = answer.json()
            token = value.get("token") or value["access_token"]
        except (ValueError, LookupError, AttributeError, TypeError):
            token = None
        if not answer.ok or not isinstance(token, str) or not token.isprintable():
            raise StepFailed(f"{self.host}: its token service answers {answer.status_code} and no token")
        return token

    def _login(self) -> tuple[str, str]:
        """User and password that docker keeps for the registry; empty where it has none."""
        path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
        if not path.is_file():
            return "", ""
        document = read_json(path)
        if not isinstance(document, dict):
            raise InputError(f"{path}: is no configuration of docker")
        helper = _entry(document, "credHelpers").get(self.host) or document.get("credsStore")
        if helper:
            self.credentials = f"docker-credential-{helper} of {path} gave no login that fits"
            return _ask_helper(str(helper), self.host)
        entries = _entry(document, "auths")
        entry = entries.get(self.host) or entries.get(f"https://{self.host}") or {}
        if not isinstance(entry, dict) or not entry:
            return "", ""
        self.credentials = f"the login in {path} does not fit"
        if entry.get("identitytoken"):
            return "<token>", str(entry["identitytoken"])
        try:
            user, _, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InputError(f"{path}: the login for {self.host} cannot be read; docker login {self.host}") from None
        return user, password


class _Header(requests.auth.AuthBase):
    """The given authorization and no other: not that of ~/.netrc."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _entry(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _ask_helper(helper: str, host: str) -> tuple[str, str]:
    """User and password from docker's credential helper; empty where it has none for the host."""
    if not _HELPER.fullmatch(helper):
        raise InputError(f"docker's configuration names the credential helper {helper!r}, which is no name of a program")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run([program, "get"], input=host, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise InputError(f"{program}: not found, and docker keeps the login for {host} there; install it") from None
    except (OSError, subprocess.SubprocessError):
        raise StepFailed(f"{program}: did not answer") from None
    try:
        value = json.loads(done.stdout) if done.returncode == 0 else {}
        return str(value.get("Username", "")), str(value.get("Secret", ""))
    except (ValueError, AttributeError):
        raise StepFailed(f"{program}: answers with something other than a login") from None
