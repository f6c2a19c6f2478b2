"""What is submitted: a pipeline compiled for images by digest, checked, with a name for its version and its values resolved."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cavmae.errors import InputError, StepFailed
from pipelines.digests import parse_image, resolve_digest
from pipelines.dvc_data import PREFIX, resolve_dvc
from pipelines.parameters import FormField, parse_values, read_form

if TYPE_CHECKING:
    from pipelines.settings import Settings

_IMAGES = ("data", "train")
_COMMIT_DIGITS, _HASH_DIGITS = 12, 8


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: its file, the name of its version (commit and hash), its form, its images and its service account."""

    pipeline: str
    path: Path
    version: str
    form: Mapping[str, FormField]
    images: Mapping[str, str]
    service_account: str | None

    @property
    def description(self) -> str:
        """Where it comes from, for a person."""
        return f"commit {self.version.rpartition('-')[0]}; " + ", ".join(f"{key} {image}" for key, image in self.images.items())


def make_package(
    pipeline: str,
    settings: "Settings",
    images: Mapping[str, str | None],
    folder: Path,
    params: Path | None = None,
    ca_file: str | None = None,
) -> Package:
    """Compile a pipeline into `folder` for images by digest; `images` (`data`, `train`) stand over those of the settings.

    Raises InputError or StepFailed where a digest cannot be had, and StepFailed where the compiled pipeline does not hold
    together.
    """
    from pipelines.build import compile_pipeline
    from pipelines.check import check_ir

    chosen = {key: image for key, image in images.items() if image}
    pinned = _pinned(settings.model_copy(update={"images": settings.images.model_copy(update=chosen)}), ca_file)
    path = compile_pipeline(pipeline, folder, pinned, params)
    if problems := check_ir(path):
        raise StepFailed(f"{pipeline}: the compiled pipeline does not hold together: {'; '.join(problems[:3])}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = {key: str(getattr(pinned.images, key)) for key in _IMAGES}
    return Package(
        pipeline, path, f"{_commit()}-{digest[:_HASH_DIGITS]}", read_form(path), found, settings.service_account or None
    )


def settle_values(package: Package, given: Sequence[str], repository: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the run's parameters from `key=value` words, and a note on each version that was looked up.

    `dvc:PATH@REV` becomes the address of the object on the DVC remote, which holds its hash. Versions of other sources are looked
    up by the run, when it starts: a schedule's source may have changed by then. Raises as `parse_values` and `resolve_dvc`.
    """
    values = parse_values(given, package.form, package.pipeline)
    notes = []
    for name, value in list(values.items()):
        if isinstance(value, str) and value.startswith(PREFIX):
            tracked = resolve_dvc(value, repository)
            values[name] = tracked.location
            notes.append(f"{name} is {tracked.path} at {tracked.commit[:_COMMIT_DIGITS]}")
    return values, notes


def _pinned(settings: "Settings", ca_file: str | None) -> "Settings":
    """The settings with images by digest. One without a tag has that of the commit, as where pipelines are compiled."""
    from pipelines.commit import image_tag
    from pipelines.site import with_tag

    for key in _IMAGES:
        parse_image(getattr(settings.images, key))
    tagged = with_tag(settings, image_tag)
    pinned = {}
    for key in _IMAGES:
        try:
            pinned[key] = resolve_digest(getattr(tagged.images, key), ca_file)
        except (InputError, StepFailed) as error:
            raise type(error)(f"image {key}: {error}; or give --image-{key} repository@sha256:…") from None
    return tagged.model_copy(update={"images": tagged.images.model_copy(update=pinned)})


def _commit() -> str:
    """The commit that is submitted from, as images are tagged, with fewer digits."""
    from pipelines.commit import image_tag

    try:
        commit, dash, changed = image_tag().partition("-")
    except InputError:
        return "unknown"
    return commit[:_COMMIT_DIGITS] + dash + changed
