"""What every component does inside its image: check the parameters, run the step, fail in one line with its exit code."""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cavmae import steps
from cavmae.errors import InputError, Interrupted, StepFailed, explain
from cavmae.params import Section, check_section
from cavmae.runlog import recorded
from cavmae.storage import sha256_file

# who and when, from where, and pages for people: they may differ where the content is the same
_UNVERSIONED = ("run.json", "origin.json", "docs")
_DIGITS = 32


# Secrets and the endpoint come under names of our own: Kubeflow's launcher, in the same container, reads boto's as well
_STORAGE = {
    "CAVMAE_S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "CAVMAE_S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "CAVMAE_S3_ENDPOINT": "AWS_ENDPOINT_URL_S3",
    "CAVMAE_S3_REGION": "AWS_DEFAULT_REGION",
}


@contextmanager
def failing_in_one_line(name: str) -> Iterator[None]:
    """Log like the command line; end the process with the error's exit code and its one line, without a traceback."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(package) for package in ("cavmae", "components")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    if not os.access(".", os.W_OK):  # a pod's root file system may be read-only
        os.environ.setdefault("CAVMAE_WORK", str(Path(tempfile.gettempdir(), "cavmae")))
    take_storage_settings()
    try:
        yield
    except (InputError, StepFailed, Interrupted) as error:
        sys.stderr.write(f"cavmae {name}: {error}\n")
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        sys.stderr.write(f"cavmae {name}: {explain(error)}\n")
        raise SystemExit(1) from None
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True


def take_storage_settings() -> None:
    """Give boto3 what the pipeline's settings say of S3."""
    os.environ.update({theirs: os.environ[ours] for ours, theirs in _STORAGE.items() if os.environ.get(ours)})


def run(
    name: str,
    settings: str,
    paths: Mapping[str, Path | str | None],
    values: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Any:
    """Run the step `name` and return its result.

    `settings` is what the component `check` made of the step's section; `values` are the form's fields, by key; `versions` say
    for inputs what they must be, as `version_of` counts. Ends the process where the input is wrong (exit code 2) or the work
    fails (1).
    """
    step = steps.load(name)
    with failing_in_one_line(name):
        for key, version in (versions or {}).items():
            check_version(Path(str(paths[key])), version)
        params = section(name, settings, values or {})
        given = {
            item.name: None if (place := paths[item.name]) is None else item.place(place)
            for item in (*step.inputs, *step.outputs)
        }
        with recorded(name, {item.name: str(given[item.name]) for item in step.outputs}):
            result = step.run(params, given)
        if step.present is not None:
            sys.stderr.write(f"{step.present(result, params)}\n")
    return result


def section(name: str, settings: str, values: Mapping[str, Any]) -> Section:
    """Return the checked parameters of a step: the defaults, the form's values over them, and `overrides` over both."""
    document = json.loads(settings)
    content = dict(document["defaults"])
    for key, value in values.items():
        if key not in content:
            raise InputError(f"the form's field for {name}.{key} fits no parameter; compile the pipelines again")
        content[key] = None if value == "" else value
    return check_section(steps.load(name).params, name, content, Path("the run's parameters"), document["overrides"])


def version_of(place: Path | str) -> str:
    """Return 32 hexadecimal digits that stand for the content of a file, or of a folder but for what names no content."""
    path = Path(place)
    if path.is_file():
        return sha256_file(path)[:_DIGITS]
    digest = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        relative = file.relative_to(path)
        if relative.parts[0] not in _UNVERSIONED:
            digest.update(relative.as_posix().encode() + b"\0" + sha256_file(file).encode())
    return digest.hexdigest()[:_DIGITS]


def check_version(path: Path, version: str) -> None:
    """Raise StepFailed where an input is not what the step before it wrote."""
    if not path.exists():
        raise StepFailed(f"{path}: this input has not arrived; look at the step that makes it, and at the artifact store")
    if (found := version_of(path)) != version:
        raise StepFailed(
            f"{path}: this input is not what the step before wrote (version {found}, not {version}); its artifact was changed or "
            "came in part: run the pipeline again without the cache"
        )


def train(
    name: str,
    settings: str,
    paths: Mapping[str, str],
    values: Mapping[str, Any],
    versions: Mapping[str, str],
    launch: str,
) -> None:
    """Run `pretrain` or `finetune`, here or in the processes that `launch` asks for, as JSON of components.launching.Launch."""
    from components.launching import launch as start
    from components.launching import read_launch

    with failing_in_one_line(name):
        how = read_launch(launch)
        if not how.alone:
            for key, version in versions.items():
                check_version(Path(paths[key]), version)
            start(name, section(name, settings, values), {key: Path(path) for key, path in paths.items()}, how)
            return
    run(name, settings, dict(paths), values, versions)


def evaluate_one(
    settings: str,
    given: Mapping[str, Any],
    made: Mapping[str, str],
    values: Mapping[str, Any],
    versions: Mapping[str, str],
    model_version: str,
) -> None:
    """Run `evaluate` on the artifacts that are `given`; None: not there.

    Learning curves come as a file, the step reads a folder.
    """
    inputs: dict[str, str | None] = {name: None if artifact is None else artifact.path for name, artifact in given.items()}
    with tempfile.TemporaryDirectory() as folder:
        if (curves := inputs["curves"]) is not None:
            shutil.copyfile(curves, Path(folder) / "training.tsv")
            inputs["curves"] = folder
        measured = "pretrained" if inputs["model"] is None else "model"
        expected = {**versions, measured: model_version}
        run("evaluate", settings, {"audio_model": None, "video_model": None, **inputs, **made}, values, expected)
