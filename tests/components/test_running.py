"""The glue inside the images: parameters, versions of inputs, one line for what fails; several processes for training."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cavmae.errors import InputError, Interrupted, StepFailed
from components.ending import report_end
from components.launching import read_launch
from components.running import check_version, failing_in_one_line, section, train, version_of
from components.settling import STEPS, parse_lines, settle
from tests.training.tiny import PARAMS, SETTINGS, same_files, tiny

SECTIONS = yaml.safe_load(PARAMS.read_text())


def settings(name: str, *overrides: str) -> str:
    return json.dumps({"defaults": SECTIONS[name], "overrides": list(overrides)})


def test_overrides_stand_over_the_form_and_the_form_over_the_defaults() -> None:
    found: Any = section("finetune", settings("finetune", "epochs=7", "mixup=0.5"), {"epochs": 5, "lr": 0.25})
    assert (found.epochs, found.lr, found.mixup, found.batch_size) == (7, 0.25, 0.5, SECTIONS["finetune"]["batch_size"])


def test_an_empty_field_is_null() -> None:
    found: Any = section("adapt", settings("adapt"), {"checkpoint": ""})
    assert found.checkpoint is None


def test_a_field_that_the_step_does_not_know_is_named() -> None:
    with pytest.raises(InputError, match=r"finetune\.epoch "):
        section("finetune", settings("finetune"), {"epoch": 5})


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("a"), 2), (StepFailed("a"), 1), (Interrupted("a"), 75), (OSError(28, "No space", "f"), 1)]
)
def test_errors_become_one_line_and_their_exit_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, failing_in_one_line("adapt"):
        raise error
    said = capsys.readouterr().err
    assert caught.value.code == code and said.startswith("cavmae adapt: ") and said.count("\n") == 1


def test_a_version_is_of_the_content_and_not_of_who_and_when(tmp_path: Path) -> None:
    for name in ("a.txt", "run.json", "sub/b.txt", "docs/page.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = version_of(tmp_path)
    (tmp_path / "run.json").write_text("later")
    (tmp_path / "docs" / "page.html").write_text("later")
    assert version_of(tmp_path) == before == version_of(str(tmp_path))
    (tmp_path / "sub" / "b.txt").rename(tmp_path / "sub" / "c.txt")
    moved = version_of(tmp_path)
    (tmp_path / "a.txt").write_text("A.TXT")
    assert len({before, moved, version_of(tmp_path)}) == 3


def test_an_input_that_was_changed_or_never_came_stops_the_step(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    version = version_of(tmp_path)
    check_version(tmp_path, version)
    (tmp_path / "a").write_text("b")
    with pytest.raises(StepFailed, match="not what the step before wrote"):
        check_version(tmp_path, version)
    with pytest.raises(StepFailed, match="not arrived"):
        check_version(tmp_path / "b", version)


def settled(form: str = "", overrides: str = "", store: str = "s3://b/x") -> dict[str, str]:
    names = ("ingest", "finetune")
    params = json.dumps({name: SECTIONS[name] for name in names})
    version, _, *found = settle(params, form, overrides, "v1", store, "sample")
    assert version == "v1"
    return dict(zip(STEPS, found, strict=True))


def test_each_step_gets_its_own_settings_and_another_steps_change_leaves_them_alone() -> None:
    plain, changed = settled(), settled(overrides="# a comment\n\nfinetune.mixup=0.5\n")
    assert plain["ingest"] == changed["ingest"] and plain["finetune"] != changed["finetune"] and plain["pretrain"] == ""
    assert json.loads(changed["finetune"])["overrides"] == ["mixup=0.5"]


def memory_of(source: str, *overrides: str) -> str:
    params = json.dumps({"ingest": SECTIONS["ingest"]})
    lines = "\n".join(f"ingest.{line}" for line in overrides)
    return settle(params, "", lines, "v1", "s3://b/x/", source)[1]


def test_each_source_has_a_memory_of_its_own_in_the_store_and_all_versions_of_a_dvc_folder_share_one() -> None:
    one, two = memory_of("s3://videos/a/"), memory_of("s3://videos/b/")
    assert one != two and one.startswith("s3://b/x/manifests/")
    versions = {memory_of(f"s3://dvc/files/md5/ab/{digit * 30}.dir") for digit in "12"}
    assert len(versions) == 1
    assert memory_of("s3://videos/a/", "test_source=s3://videos/t/") not in (one, two)
    assert memory_of("sample") == "" and memory_of("s3://videos/a/", "memory=/mine") == "/mine"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"overrides": "mixup=0.5"}, "overrides, line 1"),
        ({"overrides": "\npretrain.epochs=1"}, "overrides, line 2"),
        ({"overrides": "finetune.mixup=loud"}, "finetune.mixup"),
        ({"overrides": "finetune.mixupp=1"}, "mixupp"),
        ({"form": "finetune.epochs=-1"}, "finetune.epochs"),
        ({"form": "finetune.mode=both"}, "finetune.mode"),
        ({"store": ""}, "store is empty"),
        ({"overrides": "ingest.source=/elsewhere"}, "give it there"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(given: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settled(**given)
    assert caught.value.code == 2 and said in capsys.readouterr().err


def test_free_text_may_hold_anything() -> None:
    sections = {name: SECTIONS[name] for name in ("ingest", "package")}
    found = settle(json.dumps(sections), "", "", "v1", "/store", '/videos of "me"\\', name='My "best" #1\nmodel')
    assert len(found) == 2 + len(STEPS)


def test_lines_of_a_form_may_hold_anything_behind_the_equals_sign() -> None:
    assert parse_lines("ingest.source=s3://b/x=y #1", ("ingest",), "form") == {"ingest": ["source=s3://b/x=y #1"]}


@pytest.mark.parametrize("line", ["extract.part=1/8", "promote.run_id=again"])
def test_what_the_pipeline_gives_to_each_task_cannot_be_overridden(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    params = json.dumps({name: SECTIONS[name] for name in ("ingest", "extract", "promote")})
    with pytest.raises(SystemExit):
        settle(params, "", line, "v1", "/store", "sample")
    assert "is set by the pipeline" in capsys.readouterr().err


def test_all_that_ingest_reads_decides_the_version_of_the_source(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"1")
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n")

    def version() -> str:
        source = str(tmp_path / "train")
        lines = f"ingest.test_source={tmp_path / 'test'}\ningest.labels_csv={tmp_path / 'labels.csv'}"
        return settle(json.dumps({"ingest": SECTIONS["ingest"]}), "", lines, "", "/store", source)[0]

    found = [version()]
    assert version() == found[0]
    (tmp_path / "test" / "a.mp4").write_bytes(b"12")
    found.append(version())
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n0,a,b\n")
    assert len({*found, version()}) == 3


def test_another_checkpoint_under_the_same_name_gives_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "mae.pth"

    def settings_of_adapt(content: bytes) -> str:
        path.write_bytes(content)
        params = json.dumps({name: SECTIONS[name] for name in ("ingest", "adapt")})
        return settle(params, "", "", "v1", "/store", "sample", checkpoint=path)[2 + STEPS.index("adapt")]

    one, two = settings_of_adapt(b"1"), settings_of_adapt(b"22")
    assert one != two and section("adapt", one, {"checkpoint": str(path)}) == section("adapt", two, {"checkpoint": str(path)})


def test_the_report_on_a_run_is_kept_with_the_credentials_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setattr(os, "environ", {**os.environ, "CAVMAE_S3_ACCESS_KEY_ID": "mine"})

    class Spy:
        def write(self, name: str, content: bytes) -> None:
            seen.append(os.environ.get("AWS_ACCESS_KEY_ID"))

    monkeypatch.setattr("cavmae.stores.open_store", lambda place: Spy())
    status = SimpleNamespace(state="SUCCEEDED", error_message="")
    report_end(status, "p", "r", "s3://b/reports", str(tmp_path / "page"))
    assert seen == ["mine"]


@pytest.mark.parametrize("text", ["", "{}", '{"processes": 0}', '{"processes": 1, "node": 2}', "[1]"])
def test_a_launch_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="launch"):
        read_launch(text)


@pytest.mark.slow
def test_training_in_two_processes_writes_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{key}={value}" for key, value in SETTINGS["pretrain"].items()]
    versions = {"dataset": version_of(tiny().dataset), "start": version_of(tiny().adapted)}
    made = {}
    for count in (1, 2):
        out = tmp_path / str(count)
        paths = {"dataset": tiny().dataset, "start": tiny().adapted}
        paths |= {name: out / name for name in ("model", "curves", "events")}
        places = {key: str(path) for key, path in paths.items()}
        train("pretrain", settings("pretrain", *lines), places, {}, versions, json.dumps({"processes": count}))
        made[count] = out / "model"
    assert set(same_files(made[1], made[2])) <= {"model.safetensors", "curves.tsv"}, (
        "weights agree to rounding, all else to the byte"
    )
    assert (made[2] / "lineage.json").read_bytes() == (made[1] / "lineage.json").read_bytes()
