"""The checker of manifests finds what a cluster would stumble over, or worse, would not."""

import copy
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError
from pipelines import manifests
from pipelines.manifests import check_document, check_manifests, render

CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "c"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}
CONTAINER = {"name": "node", "image": "i"}
RUNTIME: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainingRuntime",
    "metadata": {"name": "r"},
    "spec": {
        "mlPolicy": {"numNodes": 2, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {
                                "template": {"spec": {"containers": [CONTAINER], "volumes": [{"name": "t", "emptyDir": {}}]}}
                            },
                        },
                    }
                ]
            }
        },
    },
}
JOB: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "metadata": {"name": "j"},
    "spec": {"runtimeRef": {"name": "r"}, "trainer": {"numNodes": 2, "args": ["a"]}},
}
needs_kustomize = pytest.mark.skipif(
    not any(manifests._program(name) for name in ("kustomize", "kubectl")), reason="neither kustomize nor kubectl is installed"
)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    place: Any = document
    *way, last = path.split(".")
    for part in way:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return document


@pytest.mark.parametrize("document", [CLAIM, RUNTIME, JOB, {**RUNTIME, "kind": "ClusterTrainingRuntime"}])
def test_a_good_document_has_no_problems(document: dict[str, Any]) -> None:
    assert check_document(document) == []


JOBS = "spec.template.spec.replicatedJobs.0"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (changed(CLAIM, "spec.accesModes", ["x"]), "PersistentVolumeClaim c: spec: .*'accesModes' was unexpected"),
        (changed(CLAIM, "spec.accessModes", "ReadWriteMany"), r"spec.accessModes: 'ReadWriteMany' is not of type 'array'"),
        ({**CLAIM, "kind": "PersistentVolumeClam"}, "no schema is known for v1, kind PersistentVolumeClam"),
        ({"kind": "Secret"}, "no schema is known for no apiVersion, kind Secret"),
        ({**CLAIM, "apiVersion": "kubeflow.org/v1", "kind": "Profile"}, "no schema is known for kubeflow.org/v1, kind Profile"),
        ({**JOB, "kind": "TrainJb"}, "no schema is known for trainer.kubeflow.org/v1alpha1, kind TrainJb"),
        (changed(JOB, "spec.trainer.numNode", 2), "TrainJob j: spec.trainer.numNode: is unknown"),
        (changed(JOB, "spec.trainer.numNodes", "2"), "numNodes: Input should be a valid integer"),
        (changed(JOB, "spec.trainer.args", "a"), "args: Input should be a valid list"),
        (changed(RUNTIME, f"{JOBS}.template.spec.backofLimit", 0), r"replicatedJobs.0.template.spec.backofLimit: is unknown"),
        (changed(RUNTIME, f"{JOBS}.template.spec.template.spec.containers.0.imge", "i"), r"containers.0.imge: is unknown"),
        (changed(RUNTIME, f"{JOBS}.template.spec.template.spec.containers.0.name", "main"), "trainer has no container 'node'"),
        # what a strategic patch of kustomize makes of it: the list is replaced, the containers are gone
        (changed(RUNTIME, f"{JOBS}.template.spec.template.spec", {"nodeSelector": {"a": "b"}}), "containers: Input should be"),
    ],
)
def test_a_bad_document_is_told_where_it_is_bad(document: dict[str, Any], problem: str) -> None:
    found = check_document(document)
    assert len(found) == 1 and re.search(problem, found[0]), found


@needs_kustomize
def test_every_kustomization_below_a_folder_is_checked_and_examples_stand_for_secrets(tmp_path: Path) -> None:
    for name, resources in {"base": "claim.yaml", "overlay": "../base", "broken": "nowhere.yaml"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text(f"resources: [{resources}]\n")
    (tmp_path / "base" / "claim.yaml").write_text(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {accesModes: [ReadWriteMany]}\n"
    )
    with (tmp_path / "overlay" / "kustomization.yaml").open("a") as file:
        file.write("secretGenerator: [{name: s, envs: [s.env]}]\n")
    (tmp_path / "overlay" / "s.env.example").write_text("KEY=value\n")
    problems = check_manifests(tmp_path)
    assert [problem.partition(": ")[0] for problem in problems] == [
        str(tmp_path / name) for name in ("base", "broken", "overlay")
    ]
    assert "'accesModes' was unexpected" in problems[0] and "'accesModes' was unexpected" in problems[2]
    assert f"{tmp_path}/broken/nowhere.yaml" in problems[1]
    assert not (tmp_path / "overlay" / "s.env").exists()


def test_a_folder_without_manifests_and_a_machine_without_kustomize_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"no kustomization.yaml in it"):
        check_manifests(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(InputError, match="neither kustomize nor kubectl is installed"):
        render(tmp_path)
