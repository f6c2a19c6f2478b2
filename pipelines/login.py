"""Signing in where dex or another OIDC provider with a password form stands before Kubeflow: the way of a browser.

The steps are those that Kubeflow's documentation describes for access from outside the cluster. The address is followed on one
origin only, and a password is sent once, to a form on that origin.
"""

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Busy, Unanswered, one_line, raise_for_failure

_STEPS = 12
_TIMEOUT_S = (10.0, 30.0)
_CONNECTOR = re.compile(r"[A-Za-z0-9_-]+")


class _Browser:
    """Follows redirects by hand, so that each can be held against the origin."""

    def __init__(self, session: requests.Session, host: str, verify: bool | str) -> None:
        self._session, self._host, self._verify = session, host, verify
        self._origin = _origin(host)

    def open(self, url: str, form: dict[str, str] | None = None) -> requests.Response:
        """Return the page that `url` leads to; a form is sent to `url` alone, what it redirects to is read."""
        for _ in range(_STEPS):
            if _origin(url) != self._origin:
                raise InputError(
                    f"{self._host}: signing in leads to {one_line(_origin(url), 100)}, and is followed on {self._origin} only; "
                    "correct --host, or use --cookie-file or --token-file"
                )
            try:
                answer = self._session.request(
                    "GET" if form is None else "POST",
                    url,
                    data=form,
                    headers={"Accept": "text/html"},
                    timeout=_TIMEOUT_S,
                    verify=self._verify,
                    allow_redirects=False,
                )
            except requests.exceptions.RequestException as error:
                try:
                    raise_for_failure(error, self._host, "the sign-in")
                except (Busy, Unanswered) as failure:
                    raise StepFailed(str(failure)) from None
            if not answer.is_redirect:
                return answer
            url, form = urljoin(url, answer.headers["Location"]), None
        raise StepFailed(f"{self._host}: signing in goes in circles after {_STEPS} redirects")


def sign_in(
    session: requests.Session, host: str, username: str, password: str, verify: bool | str = True, connector: str = "local"
) -> None:
    """Open a session for `username`; its cookies lie in `session` afterwards, and nowhere else.

    `connector` is dex's word for where the password is checked (`local`, `ldap`). Raises InputError where the password is
    refused or the way leaves the host, StepFailed where the host fails.
    """
    if not _CONNECTOR.fullmatch(connector):
        raise InputError(f"CAVMAE_KFP_DEX_CONNECTOR={connector!r}: must be the id of a dex connector, such as local or ldap")
    session.cookies.clear()
    browser = _Browser(session, host, verify)
    page = browser.open(f"{host}/")
    if page.status_code in (401, 403) or _path(page).endswith("/oauth2/sign_in"):
        page = browser.open(f"{_origin(host)}/oauth2/start?rd={urlsplit(host).path or '/'}")
    if page.ok and _path(page).endswith("/auth"):  # dex asks which connector
        parts = urlsplit(page.url)
        page = browser.open(urlunsplit(parts._replace(path=f"{parts.path}/{connector}")))
    if not page.ok:
        raise StepFailed(f"{host}: no form to sign in, but {page.status_code}")
    if f"/auth/{connector}" not in _path(page):
        if page.url.rstrip("/") != host:
            raise InputError(
                f"{host}: the way to sign in ends at {one_line(_path(page), 100)}, which is no dex form; use --cookie-file"
            )
        return  # nobody asked for a password
    page = browser.open(page.url, {"login": username, "password": password})
    if f"/auth/{connector}" in _path(page):
        raise InputError(f"{host}: user or password is refused (CAVMAE_KFP_USERNAME, CAVMAE_KFP_PASSWORD)")
    if _path(page).endswith("/approval"):
        page = browser.open(page.url, {"approval": "approve"})
    if not len(session.cookies):
        raise InputError(f"{host}: signed in, and no session came of it; use --cookie-file")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        port = 0
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _path(page: requests.Response) -> str:
    return str(urlsplit(page.url).path)
