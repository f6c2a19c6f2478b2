"""The session cookie of a signed-in browser, from a file: as a line that browsers show, or as cookies.txt."""

import time
from pathlib import Path
from urllib.parse import urlsplit

from cavmae.errors import InputError

_COLUMNS = 7  # of cookies.txt: domain, with sub-domains, path, secure, expires, name, value
_HIDDEN = "#HttpOnly_"


def read_cookies(path: Path, host: str) -> dict[str, str]:
    """Return the cookies that a file holds for `host` (an address), by name.

    The file is one line `name=value; name=value`, or a cookies.txt, of which cookies of other hosts and expired ones are left
    out. Raises InputError where it is neither, or nothing is left.
    """
    text = read_secret(path, "cookie file")
    lines = [line.removeprefix(_HIDDEN) for line in text.splitlines() if not line.startswith("#") or line.startswith(_HIDDEN)]
    rows = [line.split("\t") for line in lines if line.strip()]
    if len(rows) == 1 and len(rows[0]) == 1:
        pairs = [item.strip().partition("=") for item in rows[0][0].removeprefix("Cookie:").split(";") if item.strip()]
        cookies = {name: value for name, _, value in pairs}
        if not all(equals for _, equals, _ in pairs):
            raise InputError(f"cookie file {path}: must hold name=value; name=value, or be a cookies.txt")
    elif all(len(row) == _COLUMNS for row in rows):
        name = urlsplit(host).hostname or ""
        cookies = {row[5]: row[6] for row in rows if _is_for(name, row[0]) and _is_valid(row[4], path)}
    else:
        raise InputError(f"cookie file {path}: must hold name=value; name=value, or be a cookies.txt")
    if not cookies:
        raise InputError(f"cookie file {path}: holds no cookie for {urlsplit(host).hostname} that is still valid")
    for name, value in cookies.items():
        if not name.strip() or not (name + value).isascii() or not (name + value).isprintable() or set(name + value) & set(" ;,"):
            raise InputError(f"cookie file {path}: {name!r} is no cookie that can be sent")
    return cookies


def read_secret(path: Path, what: str) -> str:
    """Return the text of a file that holds a token or a cookie; raises InputError naming `what` and the file."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise InputError(f"{what} {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"{what} {path}: cannot be read ({reason})") from None


def _is_for(host: str, domain: str) -> bool:
    domain = domain.lstrip(".").lower()
    return host == domain or host.endswith(f".{domain}")


def _is_valid(expires: str, path: Path) -> bool:
    """0 stands for the end of the session."""
    try:
        return float(expires) == 0 or float(expires) > time.time()
    except ValueError:
        raise InputError(f"cookie file {path}: {expires!r} is no time at which a cookie expires") from None
