"""The HTTP connection to a Kubeflow Pipelines API: time limits, repeated reads, and one line for whatever goes wrong.

It asks the host that it was given and no other: kfp's own client also looks into ~/.config/kfp and kubeconfig, follows redirects,
prints, and has no time limits.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Busy, Unanswered, one_line, raise_for, raise_for_failure

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

Query = dict[str, str | int]


class Connection:
    """Requests to one host. `sign_in`, where there is one, opens a session; it is called again when the session has ended."""

    TIMEOUT_S = (10.0, 60.0)  # to connect, and between two bytes of an answer

    def __init__(
        self,
        host: str,
        session: requests.Session,
        verify: bool | str = True,
        sign_in: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self._session = session
        self._verify = verify
        self._sign_in = sign_in
        self._signed_in = False
        self._clock: datetime | None = None

    def now(self) -> datetime:
        """Return the time of the host's last answer by its own clock, or that of this machine where it tells none."""
        return self._clock or datetime.now(UTC)

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Return the JSON object at `path`; a read is repeated while the host cannot be reached or is busy.

        Raises Refused where the host says no, StepFailed where no answer comes.
        """
        return self._object(self._repeated(path, query), path)

    def get_text(self, path: str, **query: str | int) -> str:
        """Return the text at `path`; raises as `get`."""
        return str(self._repeated(path, query).text)

    def post(self, path: str, body: Any = None, upload: Path | None = None, **query: str | int) -> dict[str, Any]:
        """Send `body` as JSON, or a file as the form field `uploadfile`, once; return the JSON object of the answer.

        Raises as `get`, and Unanswered where it cannot be known whether the host has carried it out.
        """
        if upload is None:
            return self._object(self._once("POST", path, query, json=body), path)
        files = {"uploadfile": (upload.name, upload.read_bytes(), "application/x-yaml")}
        return self._object(self._once("POST", path, query, files=files), path)

    def delete(self, path: str, **query: str | int) -> None:
        """Delete what stands at `path`, once; raises as `post`."""
        self._once("DELETE", path, query)

    def pages(self, path: str, key: str, query: Query, limit: int = 1000) -> Iterator[dict[str, Any]]:
        """Yield the objects that a list at `path` holds under `key`, page after page, at most `limit`."""
        token, seen = "", 0
        while True:
            page = self.get(path, **query, **({"page_token": token} if token else {}))
            for item in page.get(key) or []:
                yield item
                if (seen := seen + 1) >= limit:
                    return
            last, token = token, str(page.get("next_page_token") or "")
            if token in ("", last):
                return

    def _repeated(self, path: str, query: Query) -> requests.Response:
        attempt = 1
        while True:
            try:
                return self._request("GET", path, query)
            except (Busy, Unanswered) as error:
                if attempt == _ATTEMPTS:
                    raise StepFailed(f"{error}; tried {_ATTEMPTS} times") from None
                told_s = error.pause_s if isinstance(error, Busy) else None
                pause_s = min(told_s if told_s is not None else _FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
                _LOG.debug("%s; again in %.1f s", error, pause_s)
            self.pause(pause_s)
            attempt += 1

    def _once(self, method: str, path: str, query: Query, **content: Any) -> requests.Response:
        try:
            return self._request(method, path, query, **content)
        except Busy as error:
            raise StepFailed(str(error)) from None

    def _request(self, method: str, path: str, query: Query, **content: Any) -> requests.Response:
        fresh = not self._signed_in
        if self._sign_in is not None and fresh:
            self._sign_in()
        self._signed_in = True
        answer = self._send(method, path, query, **content)
        # what was turned away was not carried out: the session has ended, and is opened again, once
        if self._sign_in is not None and not fresh and (300 <= answer.status_code < 400 or answer.status_code == 401):
            self._sign_in()
            answer = self._send(method, path, query, **content)
        raise_for(answer, self.host)
        return answer

    def _send(self, method: str, path: str, query: Query, **content: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method,
                self.host + path,
                params=query,
                headers={"Accept": "application/json, text/plain"},
                timeout=self.TIMEOUT_S,
                verify=self._verify,
                allow_redirects=False,
                **content,
            )
        except requests.exceptions.RequestException as error:
            raise_for_failure(error, self.host, f"{method} {path}")
        self._clock = _date(answer)
        return answer

    def _object(self, answer: requests.Response, path: str) -> dict[str, Any]:
        try:
            value = answer.json() if answer.content else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            kind = one_line(answer.headers.get("Content-Type", "nothing").partition(";")[0], 50)
            message = f"{self.host}{path}: answers with {kind}, as no Kubeflow Pipelines API does"
            if answer.request.method != "GET":
                raise Unanswered(message)
            raise InputError(f"{message}; the address of a whole Kubeflow ends in /pipeline")
        return value


def _date(answer: requests.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return None
