"""Manifests are checked without a cluster: rendered by kustomize, then held against the schemas of every kind in them."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cavmae.errors import InputError

_TRAINER = "trainer.kubeflow.org/v1alpha1"
_EXAMPLE = ".example"


def check_manifests(folder: Path) -> list[str]:
    """Return what is wrong with every kustomization in `folder`, one line each; nothing where all is in order.

    Files that git does not know because they hold secrets are taken from the `.example` beside them. Raises InputError where
    neither kustomize nor kubectl is there to render with, or where `folder` holds no kustomization.
    """
    found = sorted(path.parent for path in folder.rglob("kustomization.yaml"))
    if not found:
        raise InputError(f"{folder}: no kustomization.yaml in it")
    problems = []
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        for example in Path(copy).rglob(f"*{_EXAMPLE}"):
            shutil.copyfile(example, example.with_suffix(""))
        for place in found:
            try:
                documents = render(Path(copy) / place.relative_to(folder))
            except InputError as error:
                problems.append(f"{place}: {str(error).replace(copy, str(folder))}")
                continue
            problems += [f"{place}: {problem}" for document in documents for problem in check_document(document)]
    return problems


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the documents that a kustomization stands for; raises InputError where it cannot be rendered."""
    tool = next((path for name in ("kustomize", "kubectl") if (path := _program(name))), None)
    if tool is None:
        raise InputError("neither kustomize nor kubectl is installed; requirements/dev.txt brings kubectl")
    words = [tool, "build" if Path(tool).name == "kustomize" else "kustomize", str(folder.absolute())]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise InputError(f"cannot be rendered ({' '.join(result.stderr.split())})")
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def check_document(document: dict[str, Any], version: str | None = None) -> list[str]:
    """Return what is wrong with one document, held against Kubernetes `version` (the newest known) or Kubeflow Trainer.

    A key that its schema does not know is wrong, and so is a kind without a schema.
    """
    kind = document.get("kind", "?")
    name = f"{kind} {document.get('metadata', {}).get('name', '?')}"
    if document.get("apiVersion") == _TRAINER:
        return [f"{name}: {problem}" for problem in _check_trainer(kind, document)]
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, version or kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name}: {'.'.join(str(part) for part in error.path)}: {error.message}"]
    except (kubernetes_validate.SchemaNotFoundError, KeyError):
        return [f"{name}: no schema is known for {document.get('apiVersion', 'no apiVersion')}, kind {kind}"]
    return []


def _check_trainer(kind: str, document: dict[str, Any]) -> Iterator[str]:
    """Problems of a Trainer document: its models leave out what they do not know, so that it must come back as it was."""
    from kubeflow_trainer_api import models
    from pydantic import ValidationError

    model = {
        "TrainJob": models.TrainerV1alpha1TrainJob,
        "TrainingRuntime": models.TrainerV1alpha1TrainingRuntime,
        "ClusterTrainingRuntime": models.TrainerV1alpha1ClusterTrainingRuntime,
    }.get(kind)
    if model is None:
        yield f"no schema is known for {_TRAINER}, kind {kind}"
        return
    try:
        back = model.from_dict(document).to_dict()
    except ValidationError as error:
        for detail in error.errors():
            yield f"{error.title}.{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
        return
    yield from _differences(document, back, "")
    for position, job in enumerate(document["spec"].get("template", {}).get("spec", {}).get("replicatedJobs", [])):
        template = job.get("template", {})
        names = [
            container["name"] for container in template.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
        ]
        ancestor = template.get("metadata", {}).get("labels", {}).get("trainer.kubeflow.org/trainjob-ancestor-step")
        if ancestor == "trainer" and "node" not in names:  # Trainer's own webhook asks for it
            yield f"spec.template.spec.replicatedJobs.{position}: the trainer has no container 'node'"


def _differences(given: Any, back: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(back, dict):
        for key, value in given.items():
            if key in back:
                yield from _differences(value, back[key], f"{where}.{key}".lstrip("."))
            else:
                yield f"{where}.{key}".lstrip(".") + ": is unknown"
    elif isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        for position, (one, other) in enumerate(zip(given, back, strict=True)):
            yield from _differences(one, other, f"{where}.{position}")
    elif given != back:
        yield f"{where}: is {given!r}, and would be taken for {back!r}"


def _program(name: str) -> str | None:
    """Where a program is: beside this Python, or on the path."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
