"""Whether a compiled pipeline holds together: what kfp's compiler and the protobuf let pass, and a cluster finds hours later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cavmae.params import YAML_ERRORS
from pipelines.check_graph import Graph

_PLATFORM = "kubernetes"


def check_ir(path: Path) -> list[str]:
    """Return what is wrong with a compiled pipeline (IR YAML), a sentence each; an empty list where it holds together.

    Held against each other are tasks, components, executors, their inputs and outputs with their types, the order of tasks, and
    what the Kubernetes part says about executors; both parts must parse as kfp's protobufs.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, *YAML_ERRORS) as error:
        return [f"{path.name}: cannot be read as YAML ({' '.join(str(error).split())})"]
    if not 1 <= len(documents) <= 2 or not all(isinstance(document, dict) for document in documents):
        return [f"{path.name}: must hold one or two YAML documents, the pipeline and its platform part"]
    try:
        spec, platform = _parsed(documents[0], documents[1] if len(documents) == 2 else {})
    except ValueError as error:
        return [str(error)]
    problems: list[str] = []
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for label, executor in executors.items():
        problems += _executor(label, executor)
    graph = Graph(spec, executors)
    problems += graph.problems()
    for name, part in platform.get("platforms", {}).items():
        if name != _PLATFORM:
            problems.append(f"platform {name!r}: is none that this project compiles for")
        for label, configuration in part.get("deploymentSpec", {}).get("executors", {}).items():
            problems += graph.platform_problems(label, configuration)
    return problems


def _parsed(spec: dict[str, Any], platform: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both parts as the protobufs read them; raises ValueError where they hold what is unknown or of another type."""
    from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
    from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec, PlatformSpec

    def parse(name: str, value: Any, message: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = MessageToDict(ParseDict(value, message))
        except (ParseError, AttributeError, TypeError) as error:
            raise ValueError(f"{name}: {' '.join(str(error).split())}") from None
        return found

    read = parse("pipeline", spec, PipelineSpec())
    parse("deployment", read.get("deploymentSpec", {}), PipelineDeploymentConfig())
    platforms = parse("platform part", platform, PlatformSpec())
    kubernetes = platforms.get("platforms", {}).get(_PLATFORM, {})
    for label, configuration in kubernetes.get("deploymentSpec", {}).get("executors", {}).items():
        parse(f"platform part of {label}", configuration, KubernetesExecutorConfig())
    return read, platforms


def _executor(label: str, executor: dict[str, Any]) -> Iterator[str]:
    if "container" in executor:
        if not str(executor["container"].get("image") or "").strip():
            yield f"executor {label}: has no image"
    elif "importer" in executor:
        if not executor["importer"].get("artifactUri"):
            yield f"executor {label}: imports from nowhere"
    else:
        yield f"executor {label}: is neither a container nor an importer"
