"""The check of compiled pipelines: silent on what kfp compiles well, and outspoken on each way in which it can be broken."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from pipelines.check import check_ir

Json = dict[str, Any]


@pytest.fixture(scope="module")
def documents(toy: Path) -> list[Json]:
    return list(yaml.safe_load_all(toy.read_text()))


def checked(folder: Path, documents: list[Json]) -> list[str]:
    path = folder / "x.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return check_ir(path)


def test_what_kfp_compiles_holds_together(toy: Path) -> None:
    assert check_ir(toy) == []


def run(spec: Json) -> Json:
    """The tasks within the exit handler."""
    tasks: Json = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    return tasks


def branches(spec: Json) -> Json:
    tasks: Json = spec["components"]["comp-condition-branches-3"]["dag"]["tasks"]
    return tasks


BROKEN: dict[str, tuple[Callable[[Json, Json], Any], str]] = {
    "producer that is not there": (
        lambda spec, _: run(spec)["join"]["inputs"]["parameters"]["parts"]["taskOutputParameter"].update(producerTask="gone"),
        r"comp-exit-handler-1/join: 'parts': takes 'pipelinechannel--work-Output' of task 'gone', which is not there",
    ),
    "output that is not made": (
        lambda spec, _: run(spec)["join"]["inputs"]["parameters"]["parts"]["taskOutputParameter"].update(
            outputParameterKey="gone"
        ),
        r"join: 'parts': takes 'gone' of task 'for-loop-2', which makes no such thing",
    ),
    "artifact that is not made": (
        lambda spec, _: run(spec)["use-2"]["inputs"]["artifacts"]["model"]["taskOutputArtifact"].update(outputArtifactKey="gone"),
        r"use-2: 'model': takes 'gone' of task 'importer', which makes no such thing",
    ),
    "producer that is not waited for": (
        lambda spec, _: run(spec)["join"].pop("dependentTasks"),
        r"join: 'parts': takes .* of task 'for-loop-2' without waiting for it",
    ),
    "task that is waited for and not there": (
        lambda spec, _: run(spec)["join"]["dependentTasks"].append("gone"),
        r"join: waits for task 'gone', which is not there",
    ),
    "component that is not there": (
        lambda spec, _: spec["components"].pop("comp-join"),
        r"join: names component 'comp-join', which is not there",
    ),
    "executor that is not there": (
        lambda spec, _: spec["deploymentSpec"]["executors"].pop("exec-join"),
        r"comp-join: names executor 'exec-join', which is not there",
    ),
    "input that the graph does not have": (
        lambda spec, _: run(spec)["make"]["inputs"]["parameters"]["parts"].update(
            componentInputParameter="pipelinechannel--gone"
        ),
        r"make: 'parts': takes input 'pipelinechannel--gone' of the graph it is in, which has none of that name",
    ),
    "input that the component does not take": (
        lambda spec, _: run(spec)["make"]["inputs"]["parameters"].update(other={"runtimeValue": {"constant": 1}}),
        r"make: gives 'other', which comp-make does not take",
    ),
    "input that the component needs": (
        lambda spec, _: run(spec)["make"].pop("inputs"),
        r"make: does not give 'parts', which comp-make needs",
    ),
    "input from nowhere": (
        lambda spec, _: run(spec)["make"]["inputs"]["parameters"].update(parts={}),
        r"make: 'parts': has an input that comes from nowhere",
    ),
    "parameter of another type": (
        lambda spec, _: spec["components"]["comp-join"]["inputDefinitions"]["parameters"]["parts"].update(parameterType="STRING"),
        r"join: 'parts': takes STRING and is given LIST",
    ),
    "constant of another type": (
        lambda spec, _: run(spec)["use-2"]["inputs"]["parameters"].update(note={"runtimeValue": {"constant": True}}),
        r"use-2: 'note': takes STRING and is given BOOLEAN",
    ),
    "fraction for a whole number": (
        lambda spec, _: run(spec)["make"]["inputs"]["parameters"].update(parts={"runtimeValue": {"constant": 1.5}}),
        r"make: 'parts': takes NUMBER_INTEGER and is given NUMBER_DOUBLE",
    ),
    "artifact of another type": (
        lambda spec, _: spec["components"]["comp-work"]["inputDefinitions"]["artifacts"]["data"]["artifactType"].update(
            schemaTitle="system.Model"
        ),
        r"work: 'data': takes system.Model and is given system.Dataset",
    ),
    "list where one artifact is wanted": (
        lambda spec, _: spec["components"]["comp-join"]["inputDefinitions"]["artifacts"]["sets"].pop("isArtifactList"),
        r"join: 'sets': takes system.Dataset and is given system.Dataset\[\]",
    ),
    "tasks that wait for each other": (
        lambda spec, _: run(spec)["make"].update(dependentTasks=["join"]),
        r"comp-exit-handler-1: .*join.* wait for each other",
    ),
    "task that waits for itself": (
        lambda spec, _: run(spec)["make"].update(dependentTasks=["make"]),
        r"comp-exit-handler-1: make -> make wait for each other",
    ),
    "component within itself": (
        lambda spec, _: branches(spec)["condition-4"]["componentRef"].update(name="comp-exit-handler-1"),
        r"components: .*comp-exit-handler-1.* wait for each other",
    ),
    "no image": (
        lambda spec, _: spec["deploymentSpec"]["executors"]["exec-join"]["container"].pop("image"),
        r"executor exec-join: has no image",
    ),
    "blank image": (
        lambda spec, _: spec["deploymentSpec"]["executors"]["exec-join"]["container"].update(image=" "),
        r"executor exec-join: has no image",
    ),
    "executor of no kind": (
        lambda spec, _: spec["deploymentSpec"]["executors"].update({"exec-join": {}}),
        r"executor exec-join: is neither a container nor an importer",
    ),
    "import from nowhere": (
        lambda spec, _: spec["deploymentSpec"]["executors"]["exec-importer"]["importer"].pop("artifactUri"),
        r"executor exec-importer: imports from nowhere",
    ),
    "condition on what is not given": (
        lambda spec, _: branches(spec)["condition-4"]["inputs"]["parameters"].pop("pipelinechannel--join-Output"),
        r"condition-4: has a condition on 'pipelinechannel--join-Output', which it is not given",
    ),
    "text with what is not given": (
        lambda spec, _: spec["components"]["comp-condition-5"]["dag"]["tasks"]["refuse"]["inputs"]["parameters"].pop(
            "pipelinechannel--source"
        ),
        r"refuse: has a text with 'pipelinechannel--source' in it, which it is not given",
    ),
    "loop over what is not given": (
        lambda spec, _: run(spec)["for-loop-2"]["parameterIterator"]["items"].update(inputParameter="gone"),
        r"for-loop-2: goes through 'gone', which it is not given",
    ),
    "loop that hands out what nobody takes": (
        lambda spec, _: run(spec)["for-loop-2"]["parameterIterator"].update(itemInput="gone"),
        r"for-loop-2: hands out 'gone', which its component does not take",
    ),
    "output of a graph that no task makes": (
        lambda spec, _: spec["components"]["comp-for-loop-2"]["dag"]["outputs"].pop("parameters"),
        r"comp-for-loop-2: output 'pipelinechannel--work-Output' is made by no task",
    ),
    "output of a graph that is not declared": (
        lambda spec, _: spec["components"]["comp-for-loop-2"]["outputDefinitions"].pop("parameters"),
        r"comp-for-loop-2: output 'pipelinechannel--work-Output' is not declared",
    ),
    "output of a graph of a task that is not there": (
        lambda spec, _: spec["components"]["comp-for-loop-2"]["dag"]["outputs"]["parameters"]["pipelinechannel--work-Output"][
            "valueFromParameter"
        ].update(producerSubtask="gone"),
        r"comp-for-loop-2: output 'pipelinechannel--work-Output' takes 'Output' of task 'gone', which is not there",
    ),
    "one of two branches that makes nothing": (
        lambda spec, _: next(iter(spec["components"]["comp-condition-branches-3"]["dag"]["outputs"]["artifacts"].values()))[
            "artifactSelectors"
        ][1].update(outputArtifactKey="gone"),
        r"comp-condition-branches-3: output .* takes 'gone' of task 'condition-5', which makes no such thing",
    ),
    "output of a graph of another type": (
        lambda spec, _: spec["components"]["comp-condition-4"]["outputDefinitions"]["artifacts"]["pipelinechannel--train-model"][
            "artifactType"
        ].update(schemaTitle="system.Dataset"),
        r"comp-condition-4: output 'pipelinechannel--train-model' is system.Dataset and is made as system.Model",
    ),
    "report on a task that is not there": (
        lambda spec, _: spec["root"]["dag"]["tasks"]["farewell"]["inputs"]["parameters"]["status"]["taskFinalStatus"].update(
            producerTask="gone"
        ),
        r"root/farewell: 'status': reports on task 'gone', which is not there",
    ),
    "no tasks": (lambda spec, _: spec["root"].pop("dag"), r"root: has no tasks"),
    "platform part of an executor that is not there": (
        lambda _, platform: executors(platform).update({"exec-gone": {}}),
        r"platform part: speaks of executor 'exec-gone', which is not there",
    ),
    "platform that is not known": (
        lambda _, platform: platform["platforms"].update(mainframe={}),
        r"platform 'mainframe'",
    ),
    "secret whose name comes from nowhere": (
        lambda _, platform: executors(platform)["exec-train"]["secretAsEnv"][0]["secretNameParameter"].update(
            componentInputParameter="gone"
        ),
        r"platform part of exec-train, for comp-condition-4/train: takes input 'gone' of the graph it is in",
    ),
    "key that the protobuf does not know": (
        lambda spec, _: run(spec)["make"].update(retries=3),
        r'pipeline: .*no field named "retries"',
    ),
    "value that the protobuf does not take": (
        lambda spec, _: run(spec)["make"]["cachingOptions"].update(enableCache="perhaps"),
        r"pipeline: Failed to parse",
    ),
    "key of an executor that the protobuf does not know": (
        lambda spec, _: spec["deploymentSpec"]["executors"]["exec-join"]["container"].update(memory=3),
        r'deployment: .*no field named "memory"',
    ),
    "key of the platform part that the protobuf does not know": (
        lambda _, platform: executors(platform)["exec-train"].update(gpus=3),
        r'platform part of exec-train: .*no field named "gpus"',
    ),
}


def executors(platform: Json) -> Json:
    found: Json = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return found


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_broken_is_named(documents: list[Json], tmp_path: Path, how: str) -> None:
    import re

    change, said = BROKEN[how]
    spec, platform = copy.deepcopy(documents)
    change(spec, platform)
    problems = checked(tmp_path, [spec, platform])
    assert any(re.search(said, problem) for problem in problems), problems
    assert all(problem.isprintable() for problem in problems)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda spec: spec["components"]["comp-use"]["inputDefinitions"]["artifacts"]["model"]["artifactType"].update(
                schemaTitle="system.Artifact"
            ),
            "an artifact of any kind takes one of a kind",
        ),
        (
            lambda spec: run(spec)["make"]["inputs"]["parameters"].update(parts={"runtimeValue": {"constant": 2.0}}),
            "whole numbers stand as fractions in a compiled pipeline",
        ),
        (
            lambda spec: run(spec)["use-2"]["inputs"]["parameters"].update(
                note={"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}
            ),
            "a placeholder of Kubeflow's own",
        ),
    ],
)
def test_what_is_well_is_left_alone(documents: list[Json], tmp_path: Path, change: Callable[[Json], Any], why: str) -> None:
    spec, platform = copy.deepcopy(documents)
    change(spec)
    assert checked(tmp_path, [spec, platform]) == [], why


def test_a_platform_part_is_not_needed(documents: list[Json], tmp_path: Path) -> None:
    assert checked(tmp_path, documents[:1]) == []


@pytest.mark.parametrize("content", ["", "a: [", "- a", "3", "a: 1\n---\nb: 1\n---\nc: 1", "null", "components: null\nroot: 3"])
def test_what_is_no_compiled_pipeline(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    assert len(check_ir(path)) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in check_ir(tmp_path / "none.yaml")[0]


def test_a_fault_of_kfps_compiler_is_found(tmp_path: Path) -> None:
    """kfp 2.17: a loop over a constant of objects within an exit handler asks the root for the loop's items."""

    @dsl.component(base_image="x", install_kfp_package=False)
    def say(word: str): ...  # type: ignore[no-untyped-def]

    @dsl.pipeline(name="loop")
    def pipeline():  # type: ignore[no-untyped-def]
        with dsl.ExitHandler(say(word="end")), dsl.ParallelFor([{"word": "one"}]) as item:
            say(word=item.word)

    path = tmp_path / "loop.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    assert any("takes input 'loop-item-param-" in problem for problem in check_ir(path))


@pytest.mark.parametrize("name", ["cavmae-pretrain", "cavmae-finetune", "cavmae-retrain"])
def test_the_projects_pipelines_hold_together(tmp_path: Path, name: str) -> None:
    from pipelines.build import compile_pipeline
    from pipelines.settings import read_settings

    assert check_ir(compile_pipeline(name, tmp_path, read_settings(None))) == []
