"""A real S3 service for the tests, with credentials, on this machine alone."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ACCESS_KEY, SECRET_KEY = "cavmae-tests", "not-a-secret-of-anyone"
READ_ONLY_KEY = "cavmae-reader"
_START_S = 60.0


class S3Service:
    """SeaweedFS in a folder of its own. `environment` is what boto3 needs to use it; `bucket` makes a new one."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cavmae-s3-"))
        self._log = (self._folder / "log").open("wb")
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": SECRET_KEY}], "actions": allowed}
            for key, allowed in ((ACCESS_KEY, actions), (READ_ONLY_KEY, ["Read", "List"]))
        ]
        (self._folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (self._folder / "data").mkdir()
        *ports, self.port = _free_ports(8)
        names = (
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
        )
        flags = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.port": self.port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self._folder / "s3.json",
            "s3.localSocket": self._folder / "socket",
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
            "volume.max": 5000,
            "volume.minFreeSpace": "1MiB",
            "volume.preStopSeconds": 0,
            **dict(zip(names, ports, strict=True)),
        }
        # the program of this environment, whatever is on the path
        program = Path(sys.executable).with_name("weed")
        command = [str(program), f"-logdir={self._folder}", "server", *(f"-{name}={value}" for name, value in flags.items())]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(self._folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        self._wait()

    def bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"t-{uuid.uuid4().hex[:16]}"
        self.client().create_bucket(Bucket=name)
        return name

    @cached_property
    def _connection(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def client(self) -> Any:
        """A client with all rights, whatever the environment says."""
        return self._connection

    def stop(self) -> None:
        """End the service and remove its folder."""
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        """Return when a bucket can be made and holds what is written into it."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self._folder / "log").read_text(errors="replace")[-2000:]
            try:
                urlopen(f"{self.endpoint}/status", timeout=1).close()
            except HTTPError:
                break
            except (URLError, OSError):
                time.sleep(0.1)
            else:
                break
        while time.monotonic() < deadline:
            try:
                client, name = self.client(), self.bucket()
                client.put_object(Bucket=name, Key="ready", Body=b"ready")
                client.delete_object(Bucket=name, Key="ready")
                client.delete_bucket(Bucket=name)
                return
            except Exception:
                time.sleep(0.2)
        self.stop()
        raise AssertionError("the S3 service did not start")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()
