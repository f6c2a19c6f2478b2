"""The manifests render, fit their schemas, and fit what the code asks a cluster for."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.trainjob import ClusterOptions, run_trainjob
from pipelines.manifests import _program, check_manifests, render
from tests.components.api_server import ApiServer
from tests.conftest import REPOSITORY

MANIFESTS = REPOSITORY / "manifests"
PLACES = {"base": "cavmae", "overlays/team": "team-vision", "overlays/standalone": "kubeflow"}
pytestmark = pytest.mark.skipif(
    not any(_program(name) for name in ("kustomize", "kubectl")), reason="neither kustomize nor kubectl is installed"
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The documents of every kustomization, with the example of a secret in the place of one."""
    copy = tmp_path_factory.mktemp("manifests")
    subprocess.run(["cp", "-r", f"{MANIFESTS}/.", copy], check=True)
    for example in copy.rglob("*.example"):
        example.rename(example.with_suffix(""))
    return {place: render(copy / place) for place in PLACES}


def one(documents: list[dict[str, Any]], kind: str) -> Any:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def test_all_manifests_fit_their_schemas() -> None:
    assert check_manifests(MANIFESTS) == []
    assert sorted(path.parent.relative_to(MANIFESTS).as_posix() for path in MANIFESTS.rglob("kustomization.yaml")) == sorted(
        PLACES
    )


@pytest.mark.parametrize(("place", "namespace"), PLACES.items())
def test_everything_is_in_one_namespace(rendered: dict[str, list[dict[str, Any]]], place: str, namespace: str) -> None:
    for document in rendered[place]:
        inside = document["metadata"]["name"] if document["kind"] == "Namespace" else document["metadata"]["namespace"]
        assert inside == namespace, document["kind"]
    assert [subject["namespace"] for subject in one(rendered[place], "RoleBinding")["subjects"]] == [namespace]
    # a profile, or Kubeflow Pipelines itself, has made the namespace of an overlay
    assert ("Namespace" in [document["kind"] for document in rendered[place]]) == (place == "base")


@pytest.mark.parametrize("place", PLACES)
def test_the_names_are_those_that_the_code_takes_for_given(rendered: dict[str, list[dict[str, Any]]], place: str) -> None:
    options = ClusterOptions()
    runtime, claim = one(rendered[place], options.runtime_kind), one(rendered[place], "PersistentVolumeClaim")
    assert runtime["metadata"]["name"] == options.runtime
    assert claim["metadata"]["name"] == options.shared_claim
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    account = one(rendered[place], "ServiceAccount")
    assert node_pod(runtime)["serviceAccountName"] == account["metadata"]["name"]


def node_pod(runtime: dict[str, Any]) -> dict[str, Any]:
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod: dict[str, Any] = job["template"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("place", PLACES)
def test_the_runtime_keeps_its_pods_whole_in_every_overlay(rendered: dict[str, list[dict[str, Any]]], place: str) -> None:
    pod = node_pod(one(rendered[place], "TrainingRuntime"))
    (container,) = pod["containers"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"  # the follower reads it there
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (1000, 1000)
    assert pod["restartPolicy"] == "Never"  # a podFailurePolicy takes no other
    assert bool(pod.get("nodeSelector")) == (place == "overlays/team")


def test_the_role_allows_what_a_step_asks_and_no_more(
    rendered: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.write_config(tmp_path / "kubeconfig")))
    monkeypatch.setenv("KFP_POD_NAME", step := server.pod("step", 0, "Running"))
    monkeypatch.setenv("KFP_POD_UID", "uid")
    monkeypatch.delenv("CAVMAE_RUN_ID", raising=False)
    server.pods[step]["metadata"]["labels"]["pipeline/runid"] = "run"
    (tmp_path / "in").mkdir()

    def act(server: ApiServer, job: str) -> None:
        server.say(server.pod(job, 0, "Running"), "line")
        if server.made("PATCH") == 0:  # once, somebody else made the job before: it is taken over
            return
        words = dict(word[2:].partition("=")[::2] for word in server.jobs[job]["spec"]["trainer"]["args"][1:])
        Path(words["model"]).mkdir(parents=True, exist_ok=True)
        server.condition(job, "Complete")

    def train() -> None:
        options = ClusterOptions.model_validate({"shared_path": tmp_path, "poll_s": 0.01})
        inputs = {"dataset": tmp_path / "in", "start": tmp_path / "in"}
        run_trainjob("pretrain", [], inputs, {"model": tmp_path / "model"}, image="i", nodes=2, gpus=0, options=options)

    original = server._serve

    def taken_over(verb: str, *rest: Any) -> Any:
        answer = original(verb, *rest)
        return (409, answer[1]) if verb == "POST" else answer

    server._serve = taken_over  # type: ignore[method-assign]
    server.play = [act]
    train()
    server.close()
    assert server.wrong == []
    used = {kubernetes_verb(verb, path) for verb, path in server.asked}
    rules = one(rendered["base"], "Role")["rules"]
    allowed = {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert used == allowed


def kubernetes_verb(verb: str, path: str) -> tuple[str, str]:
    """What a request is to a Role: its verb and resource."""
    parts = path.partition("?")[0].split("/namespaces/")[1].split("/")[1:]
    resource = f"{parts[0]}/{parts[2]}" if len(parts) == 3 else parts[0]
    if verb == "GET" and len(parts) == 1:
        return "list", resource
    return {"POST": "create", "GET": "get", "PATCH": "patch", "DELETE": "delete"}[verb], resource


def test_no_secret_is_in_git() -> None:
    files = subprocess.run(["git", "ls-files", "manifests"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert not [name for name in files.splitlines() if name.endswith(".env")]
    ignored = subprocess.run(["git", "check-ignore", "-q", "manifests/overlays/team/s3.env"], cwd=REPOSITORY, check=False)
    assert ignored.returncode == 0
    for example in MANIFESTS.rglob("*.example"):
        assert {line.partition("=")[2] for line in example.read_text().splitlines()} == {"put-yours-here"}
