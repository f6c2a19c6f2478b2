"""A store on S3 or any service that speaks its protocol, through boto3."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cavmae.errors import InputError, StepFailed
from cavmae.storage import write_atomic
from cavmae.stores import S3, Absent, Entry, Store, check_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED = frozenset(
    {"401", "403", "AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken"}
    | {"SignatureDoesNotMatch"}
)
_CHANGED = frozenset({"409", "412", "ConditionalRequestConflict", "PreconditionFailed"})
_PART = 64 << 20  # bytes of one part of a large upload or download
_READS = 4  # times that a content is asked for whose transfer breaks off
_CONNECTIONS = 32
_RETRIES: Any = {"mode": "standard", "max_attempts": 5}
_starting = threading.Lock()  # boto3 makes clients in one thread at a time


class S3Store(Store):
    """A store below `s3://bucket/prefix`. Threads may share it; a process that gets a copy makes a connection of its own."""

    threads = 16

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.bucket, _, prefix = location.removeprefix(S3).partition("/")
        if not _BUCKET.fullmatch(self.bucket):
            raise InputError(f"{location}: names no bucket; give s3://bucket/prefix")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        if self._prefix:
            check_name(self._prefix[:-1], f"{S3}{self.bucket}")
        self._started: S3Client | None = None
        self._bucket_seen = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_started": None}

    def entry(self, name: str) -> Entry | None:
        """Ask for the head of the object."""
        key = self._key(name)
        try:
            with self._explained(name):
                head = self._client.head_object(Bucket=self.bucket, Key=key)
        except Absent:
            self._check_bucket()
            return None
        return Entry(name, head["ContentLength"], head["ETag"].strip('"'))

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """List the objects, a page of 1000 at a time."""
        with self._explained(""):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._prefix + prefix)
            for page in pages:
                for item in page.get("Contents", []):
                    yield Entry(item["Key"][len(self._prefix) :], item["Size"], item["ETag"].strip('"'))

    def read(self, name: str) -> bytes:
        """Get the object."""
        return self._get(name)[0]

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """Get the object and its etag."""
        try:
            return self._get(name)
        except Absent:
            return None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a range of the object."""
        if length <= 0:
            return b""
        return self._get(name, Range=f"bytes={offset}-{offset + length - 1}")[0]

    def fetch(self, name: str, path: Path) -> None:
        """Download the object."""
        key = self._key(name)
        with write_atomic(path) as partial, partial.open("wb") as file, self._explained(name):
            self._client.download_fileobj(self.bucket, key, file, Config=_transfer())

    def put(self, name: str, path: Path) -> None:
        """Upload a file, a large one in parts."""
        key = self._key(name)
        with path.open("rb") as file, self._explained(name):
            self._client.upload_fileobj(file, self.bucket, key, Config=_transfer())

    def write(self, name: str, content: bytes) -> None:
        """Put the object."""
        key = self._key(name)
        with self._explained(name):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def write_if(self, name: str, content: bytes, expected: str | None) -> bool:
        """Put the object on condition of its etag."""
        from botocore.exceptions import ClientError

        key = self._key(name)
        with self._explained(name):
            try:
                if expected is None:
                    self._client.put_object(Bucket=self.bucket, Key=key, Body=content, IfNoneMatch="*")
                else:
                    self._client.put_object(Bucket=self.bucket, Key=key, Body=content, IfMatch=f'"{expected}"')
            except ClientError as error:
                if _code(error) in _ABSENT and expected is not None:
                    return False
                if _code(error) not in _CHANGED:
                    raise
                # the answer to a first try may have been lost, and the second one then meets what the first wrote
                tries = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
                return tries > 0 and (self.read_tagged(name) or (None,))[0] == content
        return True

    def delete(self, name: str) -> None:
        """Delete the object."""
        key = self._key(name)
        with self._explained(name):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name, self.location)

    def _get(self, name: str, **wanted: str) -> tuple[bytes, str]:
        """The content and its tag; a transfer that breaks off is begun again, since boto3 only repeats requests."""
        from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

        key = self._key(name)
        with self._explained(name):
            for left in reversed(range(_READS)):
                try:
                    answer = self._client.get_object(Bucket=self.bucket, Key=key, **wanted)  # type: ignore[arg-type]
                    return answer["Body"].read(), answer["ETag"].strip('"')
                except (HTTPClientError, IncompleteReadError):
                    if not left:
                        raise
                except ClientError as error:
                    if _code(error) not in ("416", "InvalidRange"):
                        raise
                    return b"", ""
        raise AssertionError("unreachable")

    def _check_bucket(self) -> None:
        """A request for the head of a file cannot tell a missing file from a missing bucket."""
        if self._bucket_seen:
            return
        from botocore.exceptions import ClientError

        with self._explained(""):
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) in _ABSENT | {"NoSuchBucket"}:
                    raise self._no_bucket() from None
                if _code(error) not in _REFUSED:  # who may read a bucket's files need not be allowed to look at the bucket
                    raise
        self._bucket_seen = True

    @property
    def _client(self) -> "S3Client":
        if self._started is None:
            with _starting:
                if self._started is None:
                    self._started = _start()
        return self._started

    def _no_bucket(self) -> InputError:
        return InputError(f"{S3}{self.bucket}: there is no such bucket; make it, or name another")

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """What boto3 raises, in one line that names the URI and tells whose fault it is."""
        from botocore import exceptions as raised
        from s3transfer.exceptions import RetriesExceededError

        uri = self.uri(name) if name else self.location
        try:
            yield
        except raised.ClientError as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise self._no_bucket() from None
            if code in _ABSENT:
                raise Absent(f"{uri}: no such object") from None
            if code in _REFUSED:
                raise InputError(f"{uri}: access is denied ({code}); check the credentials and what they may do") from None
            raise StepFailed(f"{uri}: the service answered {code}{_sentence(error)}; run the command again") from None
        except (
            raised.NoCredentialsError,
            raised.PartialCredentialsError,
            raised.CredentialRetrievalError,
            raised.TokenRetrievalError,
            raised.ProfileNotFound,
        ) as error:
            raise InputError(f"{uri}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
        except (raised.ParamValidationError, raised.NoRegionError, raised.ConfigParseError, ValueError) as error:
            raise InputError(f"{uri}: cannot be asked for ({str(error).splitlines()[0]})") from None
        except (raised.BotoCoreError, RetriesExceededError) as error:
            why = " ".join(str(error).split())
            raise StepFailed(f"{uri}: the service cannot be reached ({why}); run the command again") from None


def _start() -> "S3Client":
    import boto3
    from botocore.config import Config

    settings = Config(retries=_RETRIES, connect_timeout=10, read_timeout=60, max_pool_connections=_CONNECTIONS)
    session = boto3.session.Session()
    client: S3Client = session.client("s3", config=settings)
    if ".amazonaws.com" in client.meta.endpoint_url:
        return client
    # other services seldom have a host name for every bucket
    return session.client("s3", config=settings.merge(Config(s3={"addressing_style": "path"})))


def _transfer() -> Any:
    """Files go one part after another: the workers of a step are what runs side by side."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=False)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _sentence(error: Any) -> str:
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:200]
    return f" ({message})" if message.isprintable() and message else ""
