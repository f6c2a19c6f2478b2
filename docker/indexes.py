"""The machine's package index settings, as pip and uv know them, in files that a build takes as secrets."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from client import Refused


@dataclass(frozen=True)
class Indexes:
    """Addresses: of the index that stands in for the public one, of more indexes in their order, of pages with links to packages;
    and the hosts that are trusted without a certificate. `unseen` are folders of this machine, which a build cannot look into.
    """

    default: str | None
    extra: tuple[str, ...]
    links: tuple[str, ...]
    trusted: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    def pip_conf(self) -> str:
        """Return them as pip's configuration file; empty where there are none."""
        lines = [f"index-url = {self.default}"] if self.default else []
        for key, values in (("extra-index-url", self.extra), ("find-links", self.links), ("trusted-host", self.trusted)):
            lines += [f"{key} ="] + [f"    {value}" for value in values] if values else []
        return "\n".join(["[global]", *lines, ""]) if lines else ""

    def uv_toml(self) -> str:
        """Return them as uv's configuration file; empty where there are none.

        As with pip, a pinned version is taken from whichever index has it.
        """
        lines = ['index-strategy = "unsafe-first-match"'] if self.extra else []
        for key, values in (("find-links", self.links), ("allow-insecure-host", self.trusted)):
            lines += [f"{key} = {_toml(list(values))}"] if values else []
        for url in self.extra:
            lines += ["[[index]]", f"url = {_toml(url)}"]
        if self.default:
            lines += ["[[index]]", f"url = {_toml(self.default)}", "default = true"]
        return "\n".join([*lines, ""]) if lines else ""


def machine_indexes() -> Indexes:
    """Return the indexes of this machine: uv's settings where it has any, else pip's; Refused where unreadable."""
    uv = _uv_settings()
    return _usable(uv if any((uv.default, uv.extra, uv.links)) else _pip_settings())


def _usable(found: Indexes) -> Indexes:
    """What a build can reach: addresses of the network."""
    unseen: list[str] = []

    def keep(addresses: Iterable[str]) -> tuple[str, ...]:
        kept: list[str] = []
        for address in addresses:
            (kept if urlsplit(address).scheme in ("http", "https") else unseen).append(address)
        return tuple(kept)

    default = keep([found.default] if found.default else [])
    extra, links = keep(found.extra), keep(found.links)
    return Indexes(default[0] if default else None, extra, links, found.trusted, tuple(unseen))


def _pip_settings() -> Indexes:
    """What pip says of itself: its files and its variables, which come last and win."""
    words = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    done = subprocess.run(words, capture_output=True, text=True)
    found = dict(_pip_line(line) for line in done.stdout.splitlines()) if done.returncode == 0 else {}
    found |= {
        key: os.environ[f"PIP_{key.upper().replace('-', '_')}"]
        for key in _PIP
        if f"PIP_{key.upper().replace('-', '_')}" in os.environ
    }
    lists = (tuple(found.get(key, "").split()) for key in _PIP[1:])
    return Indexes(found.get("index-url") or None, *lists)


_PIP = ("index-url", "extra-index-url", "find-links", "trusted-host")


def _pip_line(line: str) -> tuple[str, str]:
    """`global.index-url='https://…'`: the key without its section, and the value."""
    name, _, value = line.partition("=")
    try:
        return name.rpartition(".")[2], str(ast.literal_eval(value))
    except (SyntaxError, ValueError):
        raise Refused(f"pip config list: {name} cannot be read") from None


def _uv_settings() -> Indexes:
    """uv's variables, and below them the one file that it would read."""
    settings = _uv_file()
    default, extra = _text(settings.get("index-url")), _texts(settings.get("extra-index-url"))
    for index in settings.get("index") or []:
        url = _text(index.get("url")) if isinstance(index, Mapping) else None
        if url and index.get("default") is True:
            default = url
        elif url and not index.get("explicit"):
            extra = (*extra, url)
    default = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL") or default
    more = os.environ.get("UV_INDEX") or os.environ.get("UV_EXTRA_INDEX_URL")
    links, hosts = os.environ.get("UV_FIND_LINKS"), os.environ.get("UV_INSECURE_HOST")
    return Indexes(
        _unnamed(default) if default else None,
        tuple(_unnamed(word) for word in more.split()) if more else extra,
        tuple(links.replace(",", " ").split()) if links else _texts(settings.get("find-links")),
        tuple(hosts.split()) if hosts else _texts(settings.get("allow-insecure-host")),
    )


def _uv_file() -> Mapping[str, Any]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = os.environ.get("UV_CONFIG_FILE")
    for path in [Path(named)] if named else [home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        if not path.is_file():
            continue
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"{path}: cannot be read ({type(error).__name__}); uv could not either") from None
        pip = document.get("pip")
        return {**document, **pip} if isinstance(pip, Mapping) else document
    return {}


def _unnamed(index: str) -> str:
    """An index of uv's variables may have a name in front: `internal=https://…`."""
    name, equals, url = index.partition("=")
    return url if equals and name.replace("-", "").replace("_", "").isalnum() else index


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string or list of strings is also TOML
