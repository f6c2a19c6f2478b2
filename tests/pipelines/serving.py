"""A small HTTP server for tests: it records what it was sent, asks a fake what to answer, and can be in bad moods."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.pipelines.fake_kubeflow import BadRequest, FakeKubeflow, Sent


def _handler(fake: FakeKubeflow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: in two it waits 40 ms for the first to be acknowledged

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            path = parts.path.removeprefix("/pipeline")
            if fake.pages is not None and fake.pages(self, parts.path, query, content.decode(errors="replace")):
                return
            body = _body(content, self.headers.get("Content-Type", ""))
            sent = Sent(self.command, path, query, dict(self.headers), body, fake.now())
            fake.sent.append(sent)
            if fake.token is not None and self.headers.get("Authorization") != f"Bearer {fake.token}":
                self.answer(401, {"code": 16, "message": "Request header error: there is no user identity header."})
            elif fake.session is not None and f"session={fake.session}" not in self.headers.get("Cookie", ""):
                self.answer(302, "", {"Location": "/dex/auth?client_id=kubeflow"})
            elif not self._moody(sent, late=False):
                try:
                    status, value = fake.carry_out(sent)
                except BadRequest as error:
                    status, value = 400, {"code": 3, "message": str(error)}
                if not self._moody(sent, late=True):
                    self.answer(status, value)

        def _moody(self, sent: Sent, late: bool) -> bool:
            for mood in fake.moods:
                if mood.late == late and mood.times > 0 and mood.what.search(f"{sent.method} {sent.path}"):
                    mood.times -= 1
                    if mood.act == "drop":
                        self.close_connection = True
                    elif mood.act == "slow":
                        time.sleep(1.5)
                    elif isinstance(mood.act, int):
                        self.answer(mood.act, {"code": 14, "message": f"in a mood of {mood.act}"})
                    else:
                        assert callable(mood.act)
                        mood.act(self)
                    return True
            return False

        def answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
            content = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(status)
            for key, text in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return fake.now().strftime("%a, %d %b %Y %H:%M:%S GMT")

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's own names

    return Handler


def _body(content: bytes, kind: str) -> Any:
    if kind.startswith("multipart/"):
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
        assert isinstance(message, EmailMessage)
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True).decode()  # type: ignore[union-attr]
            for part in message.iter_parts()
        }
    return json.loads(content) if content else None


@contextmanager
def serving(fake: FakeKubeflow) -> Iterator[FakeKubeflow]:
    """Serve it on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
