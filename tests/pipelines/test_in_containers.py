"""The retraining pipeline in containers: to its end, byte for byte what `dvc repro` makes, and failing where a step fails.

One story in the order of the file. It needs an engine, and the images of this commit (`make images`).
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.commit import image_tag
from tests.pipelines.small import executed, last_run, start
from tests.training.tiny import PARAMS, REPOSITORY, SETTINGS, same_files, tiny

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled videos (two of them broken), a project where `dvc repro` has run, and an empty work folder."""
    docker = pytest.importorskip("docker")
    try:
        client = docker.from_env()
        for name in (f"cavmae-data:{image_tag()}", f"cavmae-train:{image_tag()}"):
            client.images.get(name)
    except docker.errors.DockerException as error:
        pytest.skip(f"no engine with the images of this commit ({str(error)[:100]}); `docker/engine.sh up`, `make images`")
    folder = tmp_path_factory.mktemp("story")
    folder.chmod(0o755)
    for parent in folder.parents[:2]:
        parent.chmod(0o755)
    _videos(folder / "videos")
    _project(folder)
    subprocess.run(["dvc", "repro", "-q", "average@multimodal"], cwd=folder / "laptop", check=True, capture_output=True)
    none = [word for name in ("audio-model", "video-model", "pretrained") for word in (f"--{name}", "none")]
    curves = folder / "laptop" / "curves"
    curves.mkdir()
    shutil.copyfile(folder / "laptop" / "metrics" / "curves" / "multimodal.tsv", curves / "training.tsv")
    _cavmae(folder / "laptop", "evaluate", *none, "--curves", "curves")
    return folder


def _videos(folder: Path) -> None:
    manifest = tiny().root / "data" / "ingest" / "clips.parquet"
    for row in pq.read_table(manifest).to_pylist():
        place = folder / row["labels"][0] / Path(row["path"]).name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tiny().root / row["path"], place)
    (folder / row["labels"][0] / "-empty.mp4").write_bytes(b"")
    (folder / row["labels"][0] / "no film.mp4").write_bytes(b"words" * 100)


def _project(folder: Path) -> None:
    """A copy of this project whose params.yaml has the tests' settings and the videos as its source."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / "laptop" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / "laptop" / name)
    params = yaml.safe_load(PARAMS.read_text())
    for step, changes in SETTINGS.items():
        for key, value in changes.items():
            group, _, inner = key.rpartition(".")
            (params[step][group] if group else params[step])[inner] = None if value == "null" else value
    params["ingest"] |= {"source": str(folder / "videos"), "watch": str(folder / "videos")}
    (folder / "laptop" / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for words in (
        ["git", "init", "-q"],
        ["git", "add", "-A"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(words, cwd=folder / "laptop", check=True, capture_output=True)


def _cavmae(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "cavmae", *words], cwd=folder, check=True, capture_output=True)


def retrain(folder: Path, **fields: Any) -> subprocess.CompletedProcess[str]:
    """The retraining pipeline on the laptop's videos, parameters and pretrained model."""
    laptop = folder / "laptop"
    given = {"model": laptop / "models" / "pretrained", "parts": 2, **fields}
    chosen = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    params = ["--params", str(laptop / "params.yaml")]
    return start(["run", "cavmae-retrain", "--runner", "docker", "--work", str(folder / "work"), *params, *chosen])


def champion(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "work" / "registry" / "champion.json").read_text())
    return found


def test_the_first_candidate_becomes_champion(story: Path) -> None:
    done = retrain(story)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "promoted" in done.stdout
    weights = last_run(story / "work") / "package" / "model" / "model.safetensors"
    assert champion(story)["sha256"] in json.dumps(json.loads((last_run(story / "work") / "compare" / "decision").read_text()))
    assert weights.is_file()


def test_shards_verdict_weights_and_evaluation_are_those_of_dvc_repro_byte_for_byte(story: Path) -> None:
    made, laptop = last_run(story / "work"), story / "laptop"
    tars = {path.name.rpartition("-")[0]: path.read_bytes() for path in (story / "work" / "store").glob("*.tar")}
    assert tars and tars == {path.stem: path.read_bytes() for path in (laptop / "data" / "shards").glob("*.tar")}
    for name in ("clips.parquet", "labels.csv", "index.json", "quarantine.parquet", "verdict.json"):
        there, here = made / "validate" / "out" / name, laptop / "data" / "validated" / name
        assert there.read_bytes() == here.read_bytes(), name
    for task, folder in (("finetune", "finetuned"), ("average", "averaged")):
        different = set(same_files(made / task / "model", laptop / "models" / folder / "multimodal"))
        assert different <= {"lineage.json"}, f"{task}: only the image may differ"
    lineages = [
        json.loads((path / "lineage.json").read_text())
        for path in (made / "average" / "model", laptop / "models/averaged/multimodal")
    ]
    assert lineages[0]["parents"]["start"]["files"] == lineages[1]["parents"]["start"]["files"]
    assert lineages[0]["code"]["sha256"] == lineages[1]["code"]["sha256"]
    assert (made / "evaluate" / "metrics").read_bytes() == (laptop / "metrics" / "evaluation.json").read_bytes()
    assert same_files(made / "evaluate" / "plots", laptop / "metrics" / "plots") == []


def test_a_run_with_other_settings_skips_what_did_not_change_and_starts_from_the_champion(story: Path) -> None:
    before = champion(story)
    done = retrain(story, seed=1, rule="point")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert not {"ingest", "extract", "join", "validate"} & set(executed(done.stdout))
    origin = json.loads((last_run(story / "work") / "fetch" / "executor_output.json").read_text())["parameterValues"]["origin"]
    assert before["version"] in origin
    decision = json.loads((last_run(story / "work") / "compare" / "decision").read_text())
    assert decision["champion"]["sha256"] == before["sha256"] and decision["difference"]
    assert (champion(story)["sha256"] != before["sha256"]) == decision["promote"]


@pytest.mark.parametrize("attempt", range(3))
def test_a_step_that_fails_at_once_fails_the_run_every_time(story: Path, attempt: int) -> None:
    done = retrain(story, source="/nowhere")
    assert done.returncode == 1 and "/nowhere" in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert executed(done.stdout) == ["check", "farewell"]


def test_a_step_that_fails_late_fails_the_run_with_its_own_words(story: Path) -> None:
    before = champion(story)
    lost = next((story / "work" / "store").glob("train-00000-*.tar"))
    lost.rename(story / "lost.tar")
    done = retrain(story, seed=2)
    (story / "lost.tar").rename(lost)
    assert done.returncode == 1
    assert str(lost) in done.stdout and "Task 'finetune' finished with status FAILURE" in done.stdout
    assert executed(done.stdout)[-1] == "farewell" and champion(story) == before


def test_nothing_in_the_work_folder_belongs_to_root_and_no_container_is_left(story: Path) -> None:
    import docker

    owners = {path.stat().st_uid for path in (story / "work" / "runs").rglob("*") if path.is_file()}
    assert 0 not in owners
    images = {f"cavmae-data:{image_tag()}", f"cavmae-train:{image_tag()}"}
    left = [one for one in docker.from_env().containers.list(all=True) if images & set(one.image.tags)]
    assert left == []
