"""The pages that stand before Kubeflow where people sign in with a password: oauth2-proxy and dex, on the same host."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from tests.pipelines.fake_kubeflow import FakeKubeflow

USER, PASSWORD = "me@example.test", "p&ss+word=ü"


@dataclass
class Dex:
    """What the way to a session looks like; `turns` replaces single pages."""

    fake: FakeKubeflow
    chooses: bool = True  # whether dex asks first where the password is checked
    approves: bool = True  # whether dex asks whether the client may know who one is
    button: bool = False  # whether oauth2-proxy shows a page with a button first
    turns: dict[str, str] = field(default_factory=dict)
    forms: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    sessions: int = 0

    def __call__(self, handler: Any, path: str, query: dict[str, str], content: str) -> bool:
        """Answer what is no call of the API; say whether it was."""
        if "/apis/" in path:
            return False
        if path in self.turns:
            handler.answer(302, "", {"Location": self.turns[path]})
            return True
        page = self._pages().get(path)
        if page is None:
            handler.answer(404, "")
        else:
            page(handler, query, content)
        return True

    def _pages(self) -> dict[str, Callable[[Any, dict[str, str], str], None]]:
        return {
            "/": self._front,
            "/pipeline/": self._front,
            "/oauth2/start": lambda handler, *_: self._to(handler, "/dex/auth?state=1"),
            "/dex/auth": self._choice,
            "/dex/auth/local": lambda handler, *_: self._to(handler, "/dex/auth/local/login?state=1"),
            "/dex/auth/ldap": lambda handler, *_: self._to(handler, "/dex/auth/ldap/login?state=1"),
            "/dex/auth/local/login": self._form,
            "/dex/auth/ldap/login": self._form,
            "/dex/approval": self._approval,
            "/oauth2/callback": self._callback,
            "/home": lambda handler, *_: handler.answer(200, "<html>home</html>", {"Content-Type": "text/html"}),
        }

    def _to(self, handler: Any, where: str, **headers: str) -> None:
        handler.answer(303, "", {"Location": where, **headers})

    def _front(self, handler: Any, query: dict[str, str], content: str) -> None:
        if f"session={self.fake.session}" in (handler.headers.get("Cookie") or ""):
            handler.answer(200, "<html></html>", {"Content-Type": "text/html"})
        elif self.button:
            handler.answer(403, "<html><button></html>", {"Content-Type": "text/html"})
        else:
            self._to(handler, "/dex/auth?state=1")

    def _choice(self, handler: Any, query: dict[str, str], content: str) -> None:
        if self.chooses:
            handler.answer(200, "<html>local or ldap?</html>", {"Content-Type": "text/html"})
        else:
            self._to(handler, "/dex/auth/local?state=1")

    def _form(self, handler: BaseHTTPRequestHandler, query: dict[str, str], content: str) -> None:
        if handler.command == "POST":
            form = parse_qs(content)
            self.forms.append((handler.path, form))
            if form == {"login": [USER], "password": [PASSWORD]}:
                self._to(handler, "/dex/approval?req=1" if self.approves else "/oauth2/callback?code=1")
                return
        handler.answer(200, "<form method=post>", {"Content-Type": "text/html"})  # type: ignore[attr-defined]

    def _approval(self, handler: Any, query: dict[str, str], content: str) -> None:
        if handler.command == "POST" and parse_qs(content) == {"approval": ["approve"]} and query == {"req": "1"}:
            self._to(handler, "/oauth2/callback?code=1")
        else:
            handler.answer(200, "<form method=post>", {"Content-Type": "text/html"})

    def _callback(self, handler: Any, query: dict[str, str], content: str) -> None:
        self.sessions += 1
        self.fake.session = f"ticket{self.sessions}"
        self._to(handler, "/home", **{"Set-Cookie": f"session={self.fake.session}; Path=/; HttpOnly"})
