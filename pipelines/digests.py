"""Images by digest: a tag can be moved, and Kubeflow's cache goes by the image's name, so what is submitted names its content."""

import hashlib
import re
from typing import NamedTuple

import requests

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Busy, Unanswered, one_line, raise_for_failure
from pipelines.registry_login import Registry

_KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_LARGEST = 4 << 20  # bytes; what the registries themselves allow a manifest


class Image(NamedTuple):
    """An image's name in its parts; `registry` is empty where the name has none."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}" if self.registry else self.path


def parse_image(text: str) -> Image:
    """Return the parts of `[registry/]path[:tag][@sha256:…]`; raises InputError where it is no name of an image."""
    name, at, digest = text.partition("@")
    registry, slash, path = name.partition("/")
    if not slash or not (set(registry) & {".", ":"} or registry == "localhost"):
        registry, path = "", name
    path, _, tag = path.partition(":")
    fits = _PATH.fullmatch(path) and (not registry or _HOST.fullmatch(registry)) and (not at or _DIGEST.fullmatch(digest))
    if not fits or (":" in name.rpartition("/")[2] and not _TAG.fullmatch(tag)):
        raise InputError(f"{one_line(text, 200)!r} is no name of an image; write registry/path:tag or registry/path@sha256:…")
    return Image(registry, path, tag, digest)


def resolve_digest(image: str, ca_file: str | None = None) -> str:
    """Return `repository@sha256:…` for an image by tag, as its registry has it now; a name with a digest is returned as it is.

    The digest is that of the bytes that the registry sends, and the one that it claims must be the same. Raises InputError where
    the name has no registry, or the registry knows no such image or lets nobody in; StepFailed where it does not answer.
    """
    name = parse_image(image)
    if name.digest:
        return f"{name.repository}@{name.digest}"
    if not name.registry:
        raise InputError(f"{image}: names no registry that could be asked for its digest; push it to one")
    if not name.tag:
        raise InputError(f"{image}: has no tag")
    content, claimed = _manifest(name, ca_file)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if claimed and claimed != digest:
        raise StepFailed(f"{image}: the registry says {one_line(claimed, 80)} and sends {digest}; do not trust it")
    return f"{name.repository}@{digest}"


def _manifest(image: Image, ca_file: str | None) -> tuple[bytes, str]:
    """The manifest's bytes and the digest that the registry claims for them."""
    registry = Registry(image.registry, image.path, ca_file or True)
    url = f"{registry.address}/v2/{image.path}/manifests/{image.tag}"
    try:
        answer = registry.get(url, {"Accept": ", ".join(_KINDS)})
        content = b""
        for block in answer.iter_content(1 << 16):
            content += block
            if len(content) > _LARGEST:
                break
    except requests.exceptions.RequestException as error:
        try:
            raise_for_failure(error, image.registry, "the question for a manifest")
        except (Busy, Unanswered) as failure:
            raise StepFailed(str(failure)) from None
    what = f"{image.repository}:{image.tag}"
    if answer.status_code == 404:
        raise InputError(f"{what}: the registry has no such image; push it")
    if answer.status_code in (401, 403):
        raise InputError(
            f"{what}: the registry does not let us read it ({answer.status_code}); {registry.credentials}; "
            f"docker login {image.registry}"
        )
    if answer.status_code != 200:
        raise StepFailed(f"{what}: the registry answers {answer.status_code}")
    if not answer.url.startswith(registry.address.partition(":")[0] + ":"):
        raise StepFailed(f"{what}: the registry sends on to an address that is not https")
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind not in _KINDS or len(content) > _LARGEST:
        raise StepFailed(
            f"{what}: the registry sends {one_line(kind, 80) or 'something'} of {len(content)} bytes, no image's manifest"
        )
    return content, answer.headers.get("Docker-Content-Digest", "")
