"""`python -m pipelines submit|schedule|status|cancel`: whole commands against a Kubeflow, as a person or a script starts them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.check import check_ir
from pipelines.connection import Connection
from tests.pipelines.conftest import Command, run_of
from tests.pipelines.fake_kubeflow import FakeKubeflow
from tests.pipelines.fake_registry import FakeRegistry, registry_serving
from tests.pipelines.test_build import PARAMS

DATA, TRAIN = "registry.test/d@sha256:" + "1" * 64, "registry.test/t@sha256:" + "2" * 64
IMAGES = ["--image-data", DATA, "--image-train", TRAIN]


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, toy: Path) -> list[Any]:
    """In place of the project's pipelines the toy is compiled; gives the settings that it was compiled for."""
    compiled: list[Any] = []

    def compile_pipeline(name: str, out: Path, settings: Any, params: Path | None = None) -> Path:
        compiled.append(settings)
        path = out / f"{name}.yaml"
        path.write_text(f"# {settings.images.data}\n" + toy.read_text())
        return path

    monkeypatch.setattr("pipelines.build.compile_pipeline", compile_pipeline)
    return compiled


def test_submit_starts_a_run_and_prints_its_id(fake: FakeKubeflow, command: Command, toys: list[Any]) -> None:
    code, out, said = command("submit", "cavmae-retrain", "-p", "source=s3://videos", "-p", "parts=4", *IMAGES)
    assert code == 0, said
    (run,) = fake.runs.values()
    assert out == run["run_id"]
    assert f"{fake.url}/#/runs/details/{out}" in said
    assert run["runtime_config"]["parameters"] == {"source": "s3://videos", "parts": 4}
    assert (toys[0].images.data, toys[0].images.train) == (DATA, TRAIN)
    (version,) = fake.versions.values()
    assert version["name"] in said and DATA in fake.packages[version["pipeline_version_id"]]
    (experiment,) = fake.experiments.values()
    assert experiment["display_name"] == "cavmae-retrain"


def test_the_same_again_is_another_run_of_the_same_version(fake: FakeKubeflow, command: Command, toys: list[Any]) -> None:
    for _ in range(2):
        assert command("submit", "cavmae-retrain", "-p", "source=s3://videos", "--experiment", "e", *IMAGES)[0] == 0
    assert (len(fake.pipelines), len(fake.versions), len(fake.experiments), len(fake.runs)) == (1, 1, 1, 2)


def test_a_submission_under_a_name_that_is_there_says_so(fake: FakeKubeflow, command: Command, toys: list[Any]) -> None:
    words = ["submit", "cavmae-retrain", "-p", "source=s3://videos", "--run-name", "night", "--json", *IMAGES]
    first = json.loads(command(*words)[1])
    code, out, said = command(*words)
    assert code == 0 and len(fake.runs) == 1
    assert json.loads(out) == {**first, "submitted_before": True}
    assert "was submitted before; nothing was started" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "sorce=x"], "has no field 'sorce'"),
        (["-p", "source=x", "-p", "parts=many"], "whole number"),
        ([], "give -p for source"),
        (["-p", "source"], "key=value"),
        (["-p", "source=dvc:no/such"], "dvc:no/such"),
        (["-p", "source=x", "--image-data", "bad image"], "no name of an image"),
        (["-p", "source=x", "--every", "0"], "above 0"),
        (["-p", "source=x", "--nonsense"], "nonsense"),
    ],
)
def test_what_is_wrong_with_a_submission_is_said_before_anything_is_sent(
    fake: FakeKubeflow, command: Command, toys: list[Any], words: list[str], said: str
) -> None:
    code, out, err = command("submit", "cavmae-retrain", *IMAGES, *words)
    assert (code, out, fake.sent) == (2, "", [])
    assert said in err and "Traceback" not in err


def test_an_unknown_pipeline_is_refused(fake: FakeKubeflow, command: Command) -> None:
    code, _, err = command("submit", "cavmae-predict", *IMAGES)
    assert code == 2 and "cavmae-retrain" in err


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with registry_serving(FakeRegistry()) as running:
        yield running


def test_images_of_the_settings_are_submitted_by_digest(
    fake: FakeKubeflow, command: Command, toys: list[Any], registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.commit.image_tag", lambda: "commit")
    settings = tmp_path / "team.yaml"
    settings.write_text(f"images: {{data: '{registry.host}/d', train: '{registry.host}/t:v1'}}\nservice_account: trainer\n")
    data, train = registry.add("d:commit", b'{"d": 1}'), registry.add("t:v1", b'{"t": 1}')
    code, run_id, said = command("submit", "cavmae-retrain", "-p", "source=x", "--settings", str(settings))
    assert code == 0, said
    assert (toys[0].images.data, toys[0].images.train) == (f"{registry.host}/d@{data}", f"{registry.host}/t@{train}")
    assert fake.runs[run_id]["service_account"] == "trainer"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("data: cavmae-data, train: cavmae-train", "names no registry"),
        ("data: 'HOST/d:v1', train: 'HOST/t:v9'", "has no such image"),
        ("data: '127.0.0.1:1/d:v1', train: 'HOST/t:v1'", "cannot be reached"),
    ],
)
def test_a_tag_that_cannot_be_resolved_is_not_submitted(
    fake: FakeKubeflow, command: Command, toys: list[Any], registry: FakeRegistry, tmp_path: Path, images: str, said: str
) -> None:
    settings = tmp_path / "team.yaml"
    settings.write_text(f"images: {{{images.replace('HOST', registry.host)}}}\n")
    registry.add("d:v1")
    for verb in (["submit"], ["schedule", "--cron", "0 3 * * *"]):
        code, _, err = command(verb[0], "cavmae-retrain", *verb[1:], "-p", "source=x", "--settings", str(settings))
        assert code == (1 if "reached" in said else 2)
        assert said in err and "repository@sha256:…" in err and "--image-" in err
    assert fake.sent == [] and toys == []


def test_a_pipeline_that_does_not_hold_together_is_not_submitted(
    fake: FakeKubeflow, command: Command, toys: list[Any], toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_broken(name: str, out: Path, *_: Any) -> Path:
        documents = list(yaml.safe_load_all(toy.read_text()))
        documents[0]["components"].pop("comp-join")
        (out / "x.yaml").write_text(yaml.safe_dump_all(documents))
        return out / "x.yaml"

    monkeypatch.setattr("pipelines.build.compile_pipeline", compile_broken)
    code, _, err = command("submit", "cavmae-retrain", "-p", "source=x", *IMAGES)
    assert (code, fake.sent) == (1, [])
    assert "does not hold together" in err and "comp-join" in err


def test_data_of_dvc_is_submitted_as_its_object_and_told_of(
    fake: FakeKubeflow, command: Command, toys: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.dvc_data import Tracked

    def resolve(value: str, repository: Path) -> Tracked:
        name = value.partition(":")[2].partition("@")[0]
        return Tracked(f"s3://b/files/md5/{name}.dir", f"hash of {name}", name, "0123456789abcdef")

    monkeypatch.setattr("pipelines.package.resolve_dvc", resolve)
    code, run_id, said = command(
        "submit", "cavmae-retrain", "-p", "source=dvc:videos@v1", "-p", "model=dvc:models/final", *IMAGES
    )
    assert code == 0, said
    assert fake.runs[run_id]["runtime_config"]["parameters"] == {
        "source": "s3://b/files/md5/videos.dir",
        "model": "s3://b/files/md5/models/final.dir",
    }
    assert "source is videos at 0123456789ab" in said
    assert "source is videos at 0123456789ab; model is models/final at 0123456789ab" in fake.runs[run_id]["description"]


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_submit_and_wait(
    fake: FakeKubeflow, command: Command, toys: list[Any], monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    def let_time_pass(_: Connection, seconds: float) -> None:
        for run in fake.runs.values():
            run["state"] = {"PENDING": "RUNNING"}.get(run["state"], state)

    monkeypatch.setattr(Connection, "pause", let_time_pass)
    found, out, said = command("submit", "cavmae-retrain", "-p", "source=x", "--wait", *IMAGES)
    assert found == code
    assert state.lower() in out.splitlines()[0] and "running" in said


def test_who_stops_waiting_is_told_that_the_run_goes_on(
    fake: FakeKubeflow, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Connection, seconds: float) -> None:
        raise KeyboardInterrupt

    fake.runs["r1"] = run_of()
    monkeypatch.setattr(Connection, "pause", interrupt)
    code, _, said = command("status", "r1", "--wait")
    assert code == 130 and "run r1 goes on" in said


def test_schedule(fake: FakeKubeflow, command: Command, toys: list[Any]) -> None:
    words = ["schedule", "cavmae-retrain", "-p", "source=s3://videos", "--no-catchup", *IMAGES]
    code, out, said = command(*words, "--cron", "0 3 * * *")
    assert code == 0, said
    (item,) = fake.recurring.values()
    assert out == item["recurring_run_id"] and item["status"] == "ENABLED" and item["display_name"] == "cavmae-retrain"
    assert item["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *" and "seconds first" in said
    assert item["no_catchup"] is True and item["max_concurrency"] == "1"
    assert item["runtime_config"]["parameters"] == {"source": "s3://videos"}
    assert "was so already" in command(*words, "--cron", "0 0 3 * * *")[2]
    code, changed, _ = command(*words, "--cron", "0 0 4 * * *", "--max-concurrency", "2", "--json")
    assert [*fake.recurring] == [json.loads(changed)["recurring_run_id"]] != [out]
    assert command(*words, "--cron", "@weekly", "--schedule-name", "second")[0] == 0
    assert len(fake.recurring) == 2
    assert command("schedule", "cavmae-retrain", "--off")[:2] == (0, "cavmae-retrain: off")
    assert sorted(item["status"] for item in fake.recurring.values()) == ["DISABLED", "ENABLED"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--cron with the times, or --off"),
        (["--cron", "0 3 * * *", "--off"], "--cron with the times, or --off"),
        (["--cron", "every day"], "2 fields"),
        (["--cron", "0 0 3 * * *", "--max-concurrency", "11"], "from 1 to 10"),
        (["--cron", "0 0 3 * * *", "--max-concurrency", "one"], "invalid int"),
        (["--cron", "0 0 3 * * *", "-p", "sorce=x"], "sorce"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_before_one_is_made(
    fake: FakeKubeflow, command: Command, toys: list[Any], words: list[str], said: str
) -> None:
    code, _, err = command("schedule", "cavmae-retrain", "-p", "source=x", *IMAGES, *words)
    assert code == 2 and said in err
    assert fake.recurring == {}


def test_a_real_pipeline_is_submitted(fake: FakeKubeflow, command: Command, tmp_path: Path) -> None:
    words = ["-p", "source=s3://videos", "-p", "parts=4", "-p", "val_share=0.2", "--params", str(PARAMS), *IMAGES]
    code, run_id, said = command("submit", "cavmae-pretrain", *words)
    assert code == 0, said
    assert fake.runs[run_id]["runtime_config"]["parameters"] == {"source": "s3://videos", "parts": 4, "val_share": 0.2}
    (package,) = fake.packages.values()
    path = tmp_path / "sent.yaml"
    path.write_text(package)
    assert check_ir(path) == []
    images = {
        executor["container"]["image"]
        for executor in next(iter(yaml.safe_load_all(package)))["deploymentSpec"]["executors"].values()
        if "container" in executor
    }
    assert images == {DATA, TRAIN}


def test_help_needs_no_host_and_no_heavy_import(tmp_path: Path) -> None:
    for name in ("submit", "schedule", "status", "cancel"):
        script = f"import sys; from pipelines import cli\ntry: cli.main(['{name}', '--help'])\nexcept SystemExit: pass\n"
        script += "print(sorted({'kfp', 'torch', 'dvc', 'boto3', 'kubernetes'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.stdout.splitlines()[-1] == "[]", done.stderr
        assert "CAVMAE" in done.stdout or "--host" in done.stdout


def test_nothing_is_left_behind(
    fake: FakeKubeflow, command: Command, toys: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    command("submit", "cavmae-retrain", "-p", "source=x", *IMAGES)
    command("submit", "cavmae-retrain", "-p", "sorce=x", *IMAGES)
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)
