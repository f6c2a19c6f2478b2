"""What an HTTP answer, or the lack of one, means: errors of one line with the right exit code."""

from typing import NoReturn
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from cavmae.errors import InputError, StepFailed

_BUSY = (429, 500, 502, 503, 504)
_SHOWN = 400


class Refused(InputError):
    """The API understood and said no; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(StepFailed):
    """Something was sent, and nobody can say from the answer, or from its absence, whether it was carried out."""


class Busy(StepFailed):
    """Nothing was carried out, and it may go well in a moment; `pause_s` is for how long the host asks to wait."""

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def raise_for(answer: requests.Response, host: str) -> None:
    """Return where the answer is a success; else raise Refused, Busy or Unanswered with one line."""
    status, words = answer.status_code, said(answer)
    if 300 <= status < 400:
        where = urlsplit(answer.headers.get("Location", ""))
        raise Refused(
            f"{host}: not signed in (sent on to {one_line(where.netloc + where.path, 100)}); give --token-file, "
            "--service-account or --cookie-file, or set CAVMAE_KFP_USERNAME and CAVMAE_KFP_PASSWORD",
            status,
        )
    if answer.ok:
        return
    if status == 401:
        raise Refused(f"{host}: not signed in, or no longer (401{words}); renew the token or the cookie", status)
    if status == 403:
        raise Refused(f"{host}: not allowed (403{words}); check --namespace and what the account may do there", status)
    message = f"{host}: {status}{words or ' ' + one_line(answer.reason)}"
    # the API's own 500 too may come after the run was started
    if status >= 500 and answer.request.method != "GET":
        raise Unanswered(message)
    if status in _BUSY:
        raise Busy(message, _seconds(answer.headers.get("Retry-After", "")))
    raise StepFailed(message) if status >= 500 else Refused(message, status)


def raise_for_failure(error: requests.exceptions.RequestException, host: str, what: str) -> NoReturn:
    """Raise InputError, Busy or Unanswered for a request `what` (`POST /path`) that brought no answer."""
    if isinstance(error, requests.exceptions.SSLError):
        raise InputError(f"{host}: {_reason(error)}; name the file of the authority that it belongs to with --ca-file") from None
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError) or _never_connected(error):
        raise Busy(f"{host}: cannot be reached ({_reason(error)})") from None
    if isinstance(error, requests.exceptions.Timeout):
        raise Unanswered(f"{host}: no answer to {what} in time") from None
    if isinstance(error, requests.exceptions.ConnectionError):
        raise Unanswered(f"{host}: the connection broke before {what} was answered") from None
    raise Unanswered(f"{host}: the answer to {what} cannot be read ({_reason(error)})") from None


def one_line(text: object, length: int = _SHOWN) -> str:
    """Return text that came from elsewhere as one line that can be shown, cut to `length` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def said(answer: requests.Response) -> str:
    """Return what an answer says in words, after a colon and a blank; nothing where it is a page for people."""
    text: object = ""
    try:
        value = answer.json()
    except ValueError:
        if answer.headers.get("Content-Type", "").startswith("text/plain"):
            text = answer.text
    else:
        if isinstance(value, dict):
            text = value.get("message") or value.get("error_message") or value.get("error") or ""
    line = one_line(text)
    return f": {line}" if line else ""


def _never_connected(error: requests.exceptions.RequestException) -> bool:
    return isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)


def _reason(error: Exception) -> str:
    cause: object = error.args[0] if error.args else error
    text = str(getattr(cause, "reason", cause))
    return one_line(text.partition("): ")[2] or text, 200)  # without the name of urllib3's own class


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
