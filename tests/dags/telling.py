"""Those who are told that a task has failed: a webhook and a mail server, as threads."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Told:
    """What arrived."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, str, dict[str, Any]]] = []  # path, Authorization, body
        self.mails: list[Any] = []  # messages
        self.web_port = self.mail_port = 0


@contextmanager
def listening() -> Iterator[Told]:
    """Serve both on free ports of this machine."""
    told = Told()

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.posts.append((self.path, self.headers.get("Authorization", ""), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    told.mails.append(message_from_string(b"".join(lines).decode(), policy=policy.default))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 yes\r\n")
                if word == b"QUIT":
                    return

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as web, socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as mail:
        told.web_port, told.mail_port = web.server_address[1], mail.server_address[1]
        for server in (web, mail):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield told
        finally:
            web.shutdown()
            mail.shutdown()
