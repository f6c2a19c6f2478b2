"""The graph of a compiled pipeline: every name that one part uses must be what another part offers, of the same type."""

import json
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

Json = dict[str, Any]

_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.(parameters|artifacts)\[(?:'|\")([^'\"]+)(?:'|\")\]")
_CONDITION = re.compile(r"inputs\.parameter_values\[(?:'|\")([^'\"]+)(?:'|\")\]")
_CHANNEL = "pipelinechannel--"  # inputs under this name only carry a value into a text of another input
_ANY_ARTIFACT = "system.Artifact"
_FINAL_STATUS = "TASK_FINAL_STATUS"


def _artifact_type(spec: Json) -> str:
    kind = spec.get("artifactType", {})
    return str(kind.get("schemaTitle") or kind.get("instanceSchema") or "artifact") + ("[]" if spec.get("isArtifactList") else "")


class Graph:
    """A pipeline's components and the graphs within them; `problems` says what does not fit."""

    def __init__(self, spec: Json, executors: Json) -> None:
        self._components: Json = spec.get("components", {})
        self._executors = executors
        self._root: Json = spec.get("root", {})

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a sentence each."""
        if "dag" not in self._root:
            yield "root: has no tasks"
        for name, component in [("root", self._root), *self._components.items()]:
            if "dag" in component:
                yield from self._dag(name, component)
            elif component.get("executorLabel") not in self._executors:
                yield f"{name}: names executor {component.get('executorLabel')!r}, which is not there"
        uses = {
            name: {ref for task in component.get("dag", {}).get("tasks", {}).values() if (ref := _component_of(task))}
            for name, component in self._components.items()
        }
        yield from _cycle("components", uses)

    def platform_problems(self, label: str, configuration: Any) -> Iterator[str]:
        """Yield what is wrong with what a platform says about an executor."""
        if label not in self._executors:
            yield f"platform part: speaks of executor {label!r}, which is not there"
            return
        for name, component in [("root", self._root), *self._components.items()]:
            tasks = component.get("dag", {}).get("tasks", {})
            for task_name, task in tasks.items():
                if self._components.get(_component_of(task), {}).get("executorLabel") == label:
                    for source in _sources(configuration):
                        for problem, _ in self._source(component, tasks, task, source, "parameters"):
                            if problem:
                                yield f"platform part of {label}, for {name}/{task_name}: {problem}"

    def _dag(self, name: str, component: Json) -> Iterator[str]:
        tasks: Json = component["dag"].get("tasks", {})
        for task_name, task in tasks.items():
            for problem in self._task(component, tasks, task):
                yield f"{name}/{task_name}: {problem}"
        for kind in ("parameters", "artifacts"):
            yield from self._outputs(name, component, tasks, kind)
        yield from _cycle(name, {key: set(task.get("dependentTasks", [])) & tasks.keys() for key, task in tasks.items()})

    def _task(self, outer: Json, tasks: Json, task: Json) -> Iterator[str]:
        reference = _component_of(task)
        component = self._components.get(reference)
        if component is None:
            yield f"names component {reference!r}, which is not there"
            return
        for other in task.get("dependentTasks", []):
            if other not in tasks:
                yield f"waits for task {other!r}, which is not there"
        given: dict[str, Json] = {kind: task.get("inputs", {}).get(kind, {}) for kind in ("parameters", "artifacts")}
        declared: dict[str, Json] = {kind: component.get("inputDefinitions", {}).get(kind, {}) for kind in given}
        for kind, sources in given.items():
            for key, source in sources.items():
                if key not in declared[kind] and not key.startswith(_CHANNEL):
                    yield f"gives {key!r}, which {reference} does not take"
                for problem, found in self._source(outer, tasks, task, source, kind):
                    yield from _mismatch(key, problem, found, declared[kind].get(key), kind)
        yield from self._iteration(task, given, declared)
        items = {task.get(iterator, {}).get("itemInput") for iterator in ("parameterIterator", "artifactIterator")}
        for kind, inputs in declared.items():
            for key, definition in inputs.items():
                optional = definition.get("isOptional") or "defaultValue" in definition
                if key not in given[kind] and not optional and key not in items:
                    yield f"does not give {key!r}, which {reference} needs"
        for key in _CONDITION.findall(task.get("triggerPolicy", {}).get("condition", "")):
            if key not in given["parameters"]:
                yield f"has a condition on {key!r}, which it is not given"
        for kind, key in _PLACEHOLDER.findall(json.dumps(task.get("inputs", {})).replace('\\"', '"')):
            if key not in given[kind]:
                yield f"has a text with {key!r} in it, which it is not given"

    def _iteration(self, task: Json, given: dict[str, Json], declared: dict[str, Json]) -> Iterator[str]:
        for iterator, kind, source in (
            ("parameterIterator", "parameters", "inputParameter"),
            ("artifactIterator", "artifacts", "inputArtifact"),
        ):
            if iterator not in task:
                continue
            items, item = task[iterator].get("items", {}), task[iterator].get("itemInput")
            if source in items and items[source] not in given[kind]:
                yield f"goes through {items[source]!r}, which it is not given"
            if item not in declared[kind]:
                yield f"hands out {item!r}, which its component does not take"

    def _source(self, outer: Json, tasks: Json, task: Json, source: Json, kind: str) -> Iterator[tuple[str, str | None]]:
        """Yield what is wrong with where an input comes from, and the type that comes from there as far as it is known."""
        inputs = outer.get("inputDefinitions", {}).get(kind, {})
        produced = source.get("taskOutputParameter") or source.get("taskOutputArtifact")
        if produced:
            producer = produced.get("producerTask")
            key = produced.get("outputParameterKey") or produced.get("outputArtifactKey")
            problem, found = self._output(tasks, producer, key, kind)
            if not problem and producer not in task.get("dependentTasks", []):
                problem = f"takes {key!r} of task {producer!r} without waiting for it"
            yield problem, None if source.get("parameterExpressionSelector") else found
        elif name := source.get("componentInputParameter") or source.get("componentInputArtifact"):
            if name not in inputs:
                yield f"takes input {name!r} of the graph it is in, which has none of that name", None
            elif source.get("parameterExpressionSelector"):
                yield "", None
            else:
                yield "", str(inputs[name].get("parameterType")) if kind == "parameters" else _artifact_type(inputs[name])
        elif status := source.get("taskFinalStatus"):
            producer = status.get("producerTask")
            yield "" if producer in tasks else f"reports on task {producer!r}, which is not there", _FINAL_STATUS
        elif "runtimeValue" in source:
            yield "", _constant_type(source["runtimeValue"].get("constant"))
        else:
            yield "has an input that comes from nowhere", None

    def _output(self, tasks: Json, producer: Any, key: Any, kind: str) -> tuple[str, str | None]:
        if producer not in tasks:
            return f"takes {key!r} of task {producer!r}, which is not there", None
        component = self._components.get(_component_of(tasks[producer]), {})
        outputs = component.get("outputDefinitions", {}).get(kind, {})
        if key not in outputs:
            return f"takes {key!r} of task {producer!r}, which makes no such thing", None
        return "", str(outputs[key].get("parameterType")) if kind == "parameters" else _artifact_type(outputs[key])

    def _outputs(self, name: str, component: Json, tasks: Json, kind: str) -> Iterator[str]:
        """What a graph hands out must be made by its tasks, and be what the component says; a loop hands out lists."""
        declared = component.get("outputDefinitions", {}).get(kind, {})
        selected = component["dag"].get("outputs", {}).get(kind, {})
        for key in declared.keys() ^ selected.keys():
            yield f"{name}: output {key!r} is {'made by no task' if key in declared else 'not declared'}"
        for key in declared.keys() & selected.keys():
            wanted = declared[key].get("parameterType") if kind == "parameters" else _artifact_type(declared[key])
            for selector in _selectors(selected[key]):
                made = selector.get("outputParameterKey") or selector.get("outputArtifactKey")
                problem, found = self._output(tasks, selector.get("producerSubtask"), made, kind)
                if problem:
                    yield f"{name}: output {key!r} {problem}"
                elif found is not None and wanted not in (found, "LIST", f"{found}[]", _ANY_ARTIFACT):
                    yield f"{name}: output {key!r} is {wanted} and is made as {found}"


def _component_of(task: Json) -> str:
    return str(task.get("componentRef", {}).get("name", ""))


def _selectors(output: Json) -> list[Json]:
    if "valueFromParameter" in output:
        return [output["valueFromParameter"]]
    return list(output.get("valueFromOneof", {}).get("parameterSelectors", [])) or list(output.get("artifactSelectors", []))


def _sources(value: Any) -> Iterator[Json]:
    """Every place in a platform's configuration that takes a value from a task or an input."""
    if isinstance(value, dict):
        if {"taskOutputParameter", "componentInputParameter"} & value.keys():
            yield value
        for item in value.values():
            yield from _sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sources(item)


def _mismatch(key: str, problem: str, found: str | None, definition: Json | None, kind: str) -> Iterator[str]:
    if problem:
        yield f"{key!r}: {problem}"
    elif found is not None and definition is not None:
        wanted = str(definition.get("parameterType")) if kind == "parameters" else _artifact_type(definition)
        number = {found, wanted} <= {"NUMBER_INTEGER", "NUMBER_DOUBLE"} and wanted == "NUMBER_DOUBLE"
        generic = kind == "artifacts" and _ANY_ARTIFACT in (found.removesuffix("[]"), wanted.removesuffix("[]"))
        if found != wanted and not number and not (generic and found.endswith("[]") == wanted.endswith("[]")):
            yield f"{key!r}: takes {wanted} and is given {found}"


def _constant_type(value: Any) -> str | None:
    """The type of a constant; whole numbers stand as `1.0` in a compiled pipeline, and texts may be filled in later."""
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int | float):
        return "NUMBER_INTEGER" if float(value).is_integer() else "NUMBER_DOUBLE"
    if isinstance(value, str):
        return None if value.startswith("{{$") else "STRING"
    return "LIST" if isinstance(value, list) else "STRUCT" if isinstance(value, dict) else None


def _cycle(name: str, edges: dict[str, set[str]]) -> Iterator[str]:
    try:
        TopologicalSorter({key: values & edges.keys() for key, values in edges.items()}).prepare()
    except CycleError as error:
        yield f"{name}: {' -> '.join(map(str, error.args[1]))} wait for each other"
