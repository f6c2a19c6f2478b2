"""`cavmae audit`, as a person or a machine calls it."""

import json
from pathlib import Path

import pytest

from cavmae.cli import main
from tests.audit.project import copied


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(tmp_path / "project", monkeypatch)


WORDS = ["audit", "--params", "none.yaml", "--no-sources"]


def test_a_whole_model_passes_and_a_page_can_be_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--html", "audit.html"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("proved:\n") and out.splitlines()[-1].startswith("0 broken, 0 differs from lineage, ")
    page = (project / "audit.html").read_text()
    assert "<h1>Audit of models/final</h1>" in page and "models/final/model.safetensors" in page and "http" not in page


def test_what_is_broken_is_named_first_and_ends_with_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "models/final/metrics.json").write_text("{}")
    assert main([*WORDS, "--json"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert not found["passed"] and found["counts"]["broken"] == 1
    assert told.err.startswith("cavmae audit: models/final/metrics.json: broken (") and told.err.count("\n") == 1
    assert main(WORDS) == 1
    assert capsys.readouterr().out.startswith("broken:\n  metrics        models/final/metrics.json  is ")


def test_a_name_is_no_markup(project: Path) -> None:
    path = project / "models/final/run.json"
    run = json.loads(path.read_text()) | {"user": "<script>alert(1)</script>"}
    path.write_text(json.dumps(run))
    assert main([*WORDS, "--html", "audit.html"]) == 0
    assert "<script>" not in (project / "audit.html").read_text()


def test_what_is_no_model_is_wrong_input(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "cavmae audit: nowhere: holds no lineage.json; name a model folder, as `package` or any training step writes it\n"
    )


def test_a_damaged_lineage_is_a_finding(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "models/final/lineage.json").write_text("{")
    assert main([*WORDS, "--json"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)["findings"]
    assert [one["what"] for one in found if one["state"] == "broken"] == ["models/final/lineage.json"]
    assert told.err.startswith("cavmae audit: models/final/lineage.json: broken (")


def test_without_parameters_here_those_of_the_library_are_not_taken(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").unlink()
    assert main(["audit", "--no-sources", "--json"]) == 0
    found = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["part"] == "parameters"]
    assert [(one["state"], one["detail"]) for one in found] == [("claimed", "no params.yaml is here")]
