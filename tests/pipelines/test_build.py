"""Compiled pipelines: the form and its defaults; images, GPUs, retries, volumes; what is cached; the branches of the gate."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cavmae.errors import InputError
from cavmae.params import knobs
from pipelines import cli
from pipelines.build import _MODULES, NAMES, compile_pipeline
from pipelines.settings import read_settings
from tests.training.tiny import PARAMS

CLUSTER = """
images: {data: team/data@sha256:DIGEST, train: team/train@sha256:DIGEST, pull_secrets: [regcred]}
storage:
  store: s3://b/shards
  registry: s3://b/registry
  checkpoints: s3://b/checkpoints
  secret: s3
  claim: work
  endpoint: http://s3:8333
train: {gpus: 4, tolerations: [{key: gpu, operator: Exists}], node_selector: {pool: gpu}}
""".replace("DIGEST", "a" * 64)
OWN_FIELDS = {"source_version", "store", "registry", "parts", "overrides"}


def compiled(name: str, folder: Path, settings: str = "", params: Path = PARAMS) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pipeline's specification, and the platform's part of it."""
    file = folder / "team.yaml"
    file.write_text(settings)
    path = compile_pipeline(name, folder, read_settings(file if settings else None), params)
    assert path.name == f"{name}.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    return documents[0], documents[1] if len(documents) > 1 else {}


@lru_cache
def cluster(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return compiled(name, Path(folder), CLUSTER)


def tasks(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every task that runs a container, by name."""
    found: dict[str, dict[str, Any]] = {}
    for dag in [document["root"], *document["components"].values()]:
        for name, task in dag.get("dag", {}).get("tasks", {}).items():
            component = document["components"][task["componentRef"]["name"]]
            if "executorLabel" in component:
                found[name] = task | {"executor": component["executorLabel"]}
    return found


def container(document: dict[str, Any], task: str) -> dict[str, Any]:
    found: dict[str, Any] = document["deploymentSpec"]["executors"][tasks(document)[task]["executor"]]["container"]
    return found


def test_the_command_line_knows_the_names_without_importing_kfp() -> None:
    assert cli.NAMES == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_form_has_defaults_and_words_of_params_yaml(name: str) -> None:
    document, _ = cluster(name)
    fields = document["root"]["inputDefinitions"]["parameters"]
    shown = _MODULES[name].KNOBS
    assert set(fields) == set(shown) | (OWN_FIELDS - ({"registry"} if name != "cavmae-retrain" else set()))
    assert 10 <= len(fields) <= 26
    for key, knob in shown.items():
        step, _, inner = knob.partition(".")
        default, comment = knobs(step, PARAMS)[inner]
        wanted = "cuda" if inner == "device" else "" if default is None else default
        given = fields[key].get("defaultValue", "")
        assert given == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)
        assert comment in fields[key]["description"]
    assert all(field["description"] for field in fields.values())
    assert document["pipelineInfo"]["description"].endswith(".")


def test_a_default_changed_in_params_yaml_changes_the_form_and_the_parameters_that_are_carried(tmp_path: Path) -> None:
    changed = tmp_path / "params.yaml"
    text = PARAMS.read_text()
    section = text.index("\nfinetune:")
    epochs, smoothing = "  epochs: 15 ", "  label_smoothing: 0.1 "
    text = text[:section] + text[section:].replace(epochs, "  epochs: 21 ", 1).replace(smoothing, "  label_smoothing: 0.2 ", 1)
    changed.write_text(text)
    document, _ = compiled("cavmae-finetune", tmp_path, params=changed)
    assert document["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"] == 21
    carried = tasks_params(document)
    assert '"label_smoothing": 0.2' in carried and '"label_smoothing": 0.1' not in carried


def tasks_params(document: dict[str, Any]) -> str:
    text: str = tasks(document)["check"]["inputs"]["parameters"]["params"]["runtimeValue"]["constant"]
    return text


def test_a_default_that_fits_no_field_stops_the_compilation(tmp_path: Path) -> None:
    changed = tmp_path / "params.yaml"
    changed.write_text(PARAMS.read_text().replace("  epochs: 15 ", "  epochs: many ", 1))
    with pytest.raises(InputError, match=r"finetune\.epochs"):
        compiled("cavmae-finetune", tmp_path, params=changed)


@pytest.mark.parametrize("name", NAMES)
def test_free_text_is_not_put_into_other_text(name: str) -> None:
    form = tasks(cluster(name)[0])["check"]["inputs"]["parameters"]["form"]["runtimeValue"]["constant"]
    kinds = cluster(name)[0]["root"]["inputDefinitions"]["parameters"]
    free = {"source", "model", "checkpoint", "name"} & set(kinds)
    assert free and not [field for field in free if f"pipelinechannel--{field}'" in form]


@pytest.mark.parametrize("name", NAMES)
def test_equal_input_gives_equal_bytes(name: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        compiled(name, folder, CLUSTER)
    assert (one / f"{name}.yaml").read_bytes() == (two / f"{name}.yaml").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_training_asks_for_its_gpus_gets_shared_memory_and_is_retried(name: str) -> None:
    document, platform = cluster(name)
    step = "pretrain" if name == "cavmae-pretrain" else "finetune"
    assert container(document, step)["resources"]["accelerator"] == {
        "count": "4",
        "resourceCount": "4",
        "resourceType": "nvidia.com/gpu",
        "type": "nvidia.com/gpu",
    }
    assert container(document, "evaluate")["resources"]["accelerator"]["resourceCount"] == "1"
    assert "accelerator" not in container(document, "ingest")["resources"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{step}"]
    assert kubernetes["emptyDirMounts"] == [
        {"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "8Gi", "volumeName": "dshm"}
    ]
    retry = tasks(document)[step]["retryPolicy"]
    assert retry["maxRetryCount"] == 3
    # Argo counts from the start of the first try, and kills a later one then: a long training has to fit
    assert int(retry["backoffMaxDuration"].rstrip("s")) >= 30 * 24 * 3600
    environment = {one["name"]: one["value"] for one in container(document, step)["env"]}
    assert environment["CAVMAE_CHECKPOINTS"] == "s3://b/checkpoints"
    assert environment["CAVMAE_IMAGE_DIGEST"] == "sha256:" + "a" * 64


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_the_image_secret_claim_and_place_of_the_settings(name: str) -> None:
    document, platform = cluster(name)
    for task, found in tasks(document).items():
        image = container(document, task)["image"]
        assert image in (f"team/data@sha256:{'a' * 64}", f"team/train@sha256:{'a' * 64}")
        kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][found["executor"]]
        assert kubernetes["secretAsEnv"][0]["secretName"] == "s3"
        assert kubernetes["pvcMount"][0]["mountPath"] == "/cavmae"
        assert kubernetes["imagePullSecret"][0]["secretName"] == "regcred"
        assert ("tolerations" in kubernetes) == ("/train@" in image)
        assert ("nodeSelector" in kubernetes) == ("/train@" in image)
        words = yaml.safe_dump(container(document, task))
        assert "AWS_SECRET" not in words


def test_what_must_look_at_the_present_is_never_taken_from_the_cache() -> None:
    document, _ = cluster("cavmae-retrain")
    uncached = {name for name, task in tasks(document).items() if not task["cachingOptions"].get("enableCache")}
    assert uncached == {"check", "fetch", "compare", "promote", "refuse", "farewell"}


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_has_two_branches_and_training_stands_behind_the_open_one(name: str) -> None:
    document, _ = cluster(name)
    conditions = {
        tuple(sorted(document["components"][key]["dag"]["tasks"])): task["triggerPolicy"]["condition"]
        for dag in document["components"].values()
        for task in dag.get("dag", {}).get("tasks", {}).values()
        if "condition" in task.get("triggerPolicy", {})
        for key in [task["componentRef"]["name"]]
    }
    closed = next(condition for names, condition in conditions.items() if names == ("refuse",))
    opened = next(condition for names, condition in conditions.items() if "evaluate" in names)
    assert opened in closed and closed.startswith("!")


@pytest.mark.parametrize("name", NAMES)
def test_extraction_fans_out_and_only_an_index_is_joined(name: str) -> None:
    document, _ = cluster(name)
    loop = next(
        task
        for dag in document["components"].values()
        for task in dag.get("dag", {}).get("tasks", {}).values()
        if "parameterIterator" in task
    )
    assert loop["iteratorPolicy"]["parallelismLimit"] == 16
    inputs = tasks(document)["join"]["inputs"]
    assert set(inputs["artifacts"]) == {"clips"}, "the parts' artifacts are not collected"


def test_without_gpus_the_form_says_cpu(tmp_path: Path) -> None:
    document, _ = compiled("cavmae-pretrain", tmp_path, "train: {gpus: 0}")
    assert document["root"]["inputDefinitions"]["parameters"]["device"]["defaultValue"] == "cpu"
    assert "accelerator" not in container(document, "pretrain")["resources"]
