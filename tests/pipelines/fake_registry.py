"""A small image registry: manifests by tag, token or basic authentication, and answers that lie."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class FakeRegistry:
    """Which manifests it has (`path:tag`), and whom it lets in."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    kind: str = INDEX
    digest: str | None = ""  # what it claims; "": the truth, None: nothing
    auth: str = ""  # "", "basic" or "bearer"
    user: str = ""
    password: str = ""
    realm: str = ""  # of the token service; "": this server
    act: Callable[[Any], None] | None = None
    host: str = ""
    sent: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, authorization

    def add(self, name: str, content: bytes = b'{"schemaVersion": 2}') -> str:
        """Push something and return its digest."""
        self.manifests[name] = content
        return "sha256:" + hashlib.sha256(content).hexdigest()


@contextmanager
def registry_serving(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    """Serve it on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            given = self.headers.get("Authorization", "")
            fake.sent.append((self.command, self.path, given))
            if parts.path == "/token":
                self._token(parse_qs(parts.query), given)
                return
            if not self._allowed(given):
                realm = fake.realm or f"http://{fake.host}/token"
                challenge = (
                    f'Bearer realm="{realm}",service="toy",scope="repository:x:pull"' if fake.auth == "bearer" else "Basic"
                )
                self.answer(401, b"{}", {"WWW-Authenticate": challenge})
            elif fake.act is not None:
                fake.act(self)
            else:
                name, _, tag = parts.path.removeprefix("/v2/").rpartition("/manifests/")
                content = fake.manifests.get(f"{name}:{tag}")
                if content is None or "oci.image.index" not in self.headers.get("Accept", ""):
                    self.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
                    return
                claimed = fake.digest or "sha256:" + hashlib.sha256(content).hexdigest()
                self.answer(200, content, {} if fake.digest is None else {"Docker-Content-Digest": claimed}, fake.kind)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            fake.sent.append((self.command, self.path, self.headers.get("Authorization", "")))
            if form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == [fake.password]:
                self.answer(200, json.dumps({"access_token": "let-me-in"}).encode())
            else:
                self.answer(401, b"{}")

        def _allowed(self, given: str) -> bool:
            if fake.auth == "basic":
                return given == _basic(fake)
            return given == "Bearer let-me-in" if fake.auth == "bearer" else True

        def _token(self, query: dict[str, list[str]], given: str) -> None:
            if query != {"service": ["toy"], "scope": ["repository:x:pull"]} or (fake.user and given != _basic(fake)):
                self.answer(401, b"{}")
            else:
                self.answer(200, json.dumps({"token": "let-me-in"}).encode())

        def answer(
            self, status: int, content: bytes, headers: dict[str, str] | None = None, kind: str = "application/json"
        ) -> None:
            self.send_response(status)
            for key, text in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(key, text)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    fake.host = f"127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _basic(fake: FakeRegistry) -> str:
    return "Basic " + base64.b64encode(f"{fake.user}:{fake.password}".encode()).decode()
