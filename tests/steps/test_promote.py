"""The step `promote`: from a decision to the champion, by command."""

import json
from pathlib import Path

import pytest

from cavmae.cli import main
from cavmae.runlog import RUN_VARIABLE
from cavmae.storage import sha256_file
from cavmae.stores import open_store
from tests.s3_service import S3Service
from tests.training.tiny import arguments, run_step, same_files, tiny


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def decide(tmp_path: Path, candidate: Path, name: str = "decision.json", **changes: object) -> Path:
    out = tmp_path / name
    folders = {"dataset": tiny().dataset, "candidate": candidate, "registry": tmp_path / "registry", "decision": out}
    run_step("compare", folders, **changes)
    return out


def promote(tmp_path: Path, candidate: Path, decision: Path, **changes: object) -> int:
    words = ["--candidate", candidate, "--decision", decision, "--registry", tmp_path / "registry"]
    return main([*arguments("promote", **changes), *map(str, words)])


def test_first_champion_then_a_better_one_then_one_that_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio, both = tiny().classifier("audioonly"), tiny().classifier()
    old, new = (sha256_file(folder / "model.safetensors")[:16] for folder in (audio, both))
    first = decide(tmp_path, audio)
    assert promote(tmp_path, audio, first) == 0
    assert capsys.readouterr().out == f"promoted {old}: there is no champion yet\n"
    version = tmp_path / "registry" / "versions" / old
    assert not {"model.safetensors", "config.json", "lineage.json"} & set(same_files(audio, version))
    second = decide(tmp_path, both, rule="not_worse", margin=0.99)
    assert promote(tmp_path, both, second, run_id="manual__2026-01-05T00:00:00+00:00") == 0
    reason = json.loads(second.read_text())["reason"]
    assert capsys.readouterr().out == f"promoted {new} in place of {old}: {reason}\n"
    third = decide(tmp_path, audio, margin=0.99)
    assert promote(tmp_path, audio, third) == 0
    assert capsys.readouterr().out.startswith(f"kept {new}, candidate {old}: mAP of the candidate minus")
    rows = [json.loads(line) for line in (tmp_path / "registry" / "history.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["promoted", "promoted", "kept"]
    assert [row["decision"] for row in rows][2] == sha256_file(third)
    assert rows[0]["run_id"].startswith("decision-") and rows[1]["run_id"] == "manual__2026-01-05T00:00:00+00:00"


def test_a_registry_on_s3_is_compared_with_and_promoted_to_as_one_in_a_folder(
    tmp_path: Path, s3_server: S3Service, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"s3://{s3_server.bucket()}/registry"
    audio, both = tiny().classifier("audioonly"), tiny().classifier()
    said: dict[str, list[str]] = {}
    decisions: dict[str, list[bytes]] = {}
    for registry in (str(tmp_path / "registry"), place):
        out = tmp_path / "decision.json"
        for candidate, rule in ((audio, "interval"), (both, "not_worse")):
            given = ["--candidate", str(candidate), "--registry", registry, "--decision", str(out)]
            compared = arguments("compare", rule=rule, margin=0.99 if rule == "not_worse" else 0)
            assert main([*compared, "--dataset", str(tiny().dataset), *given]) == 0
            assert main([*arguments("promote", run_id=rule), *given]) == 0
            decisions.setdefault(registry, []).append(out.read_bytes())
            said.setdefault(registry, []).append(capsys.readouterr().out)
        assert main([*arguments("promote", run_id="interval"), *given]) == 2
        assert "run interval has brought candidate" in capsys.readouterr().err
    assert decisions[place] == decisions[str(tmp_path / "registry")] and said[place] == said[str(tmp_path / "registry")]
    rows = [json.loads(open_store(place).read(f"history/00000000{number}.json")) for number in (1, 2)]
    lines = [json.loads(line) for line in (tmp_path / "registry" / "history.jsonl").read_text().splitlines()]
    assert [{**row, "time": ""} for row in rows] == [{**line, "time": ""} for line in lines]
    assert not list(Path().glob("s3:*")), "an address is never taken for a path"


def test_the_environment_names_the_run_and_the_same_run_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny().classifier("audioonly")
    version = sha256_file(model / "model.safetensors")[:16]
    monkeypatch.setenv(RUN_VARIABLE, "run-17")
    assert promote(tmp_path, model, decide(tmp_path, model)) == 0
    before = (tmp_path / "registry" / "history.jsonl").read_bytes()
    capsys.readouterr()
    assert promote(tmp_path, model, decide(tmp_path, model, "again.json")) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"nothing changed: run run-17 has promoted {version} before, the champion is {version}; ")
    assert (tmp_path / "registry" / "history.jsonl").read_bytes() == before
    monkeypatch.setenv(RUN_VARIABLE, "run\n18")
    assert promote(tmp_path, model, tmp_path / "again.json") == 2
    assert capsys.readouterr().err == "cavmae promote: CAVMAE_RUN_ID is 'run\\n18'; give 1 to 200 printable characters\n"


def test_who_comes_too_late_fails_and_both_champions_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio, both, video = (tiny().classifier(mode) for mode in ("audioonly", "multimodal", "videoonly"))
    assert promote(tmp_path, audio, decide(tmp_path, audio)) == 0
    late = decide(tmp_path, video, "late.json", rule="not_worse", margin=0.99)
    assert promote(tmp_path, both, decide(tmp_path, both, rule="not_worse", margin=0.99)) == 0
    capsys.readouterr()
    assert promote(tmp_path, video, late) == 1
    names = [sha256_file(folder / "model.safetensors")[:16] for folder in (audio, both)]
    assert capsys.readouterr().err == (
        f"cavmae promote: the decision was made against champion {names[0]}, the champion now is {names[1]}: "
        "run `cavmae compare` again\n"
    )
    assert promote(tmp_path, audio, late) == 2
    assert "the decision was made for another candidate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "is not what `compare` writes: key 'format'"),
        ("[]", "is not what `compare` writes"),
        ('{"format": 1, "promote": "yes"}', "key 'promote'"),
        ("{", "not valid JSON"),
    ],
)
def test_another_file_is_no_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    (tmp_path / "d.json").write_text(text)
    assert promote(tmp_path, tiny().classifier("audioonly"), tmp_path / "d.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and not (tmp_path / "registry").exists()


@pytest.mark.parametrize("word", ["2026", "no", "1e3"])
def test_a_run_may_be_called_what_yaml_reads_as_another_thing(tmp_path: Path, word: str) -> None:
    model = tiny().classifier("audioonly")
    decision = decide(tmp_path, model)
    words = ["--candidate", model, "--decision", decision, "--registry", tmp_path / "registry", "--run-id", word]
    assert main([*arguments("promote"), *map(str, words)]) == 0
    assert json.loads((tmp_path / "registry" / "champion.json").read_text())["run_id"] == word


def test_a_run_id_that_no_line_can_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments("promote"), "--run-id", "x" * 201]) == 2
    assert "give 1 to 200 printable characters" in capsys.readouterr().err
