"""The command `retrieve`: figures both ways, a gallery to look at, and what cannot be retrieved."""

import json
import shutil
from pathlib import Path

import pytest

from cavmae.cli import main
from tests.steps.command import contents
from tests.training.tiny import arguments, run_step, same_files, tiny


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))


def retrieve(out: Path, model: Path | None = None, dataset: Path | None = None, **changes: object) -> int:
    files = {"--dataset": dataset or tiny().dataset, "--model": model or tiny().pretrained}
    files |= {"--metrics": out / "retrieval.json", "--gallery": out / "gallery"}
    return main([*arguments("retrieve", **changes), *(str(word) for pair in files.items() for word in pair)])


def figures(out: Path, split: str = "test") -> dict[str, dict[str, float]]:
    document = json.loads((out / "retrieval.json").read_text())
    assert set(document) == {split} and document[split]["clips"] == 8
    return dict(document[split]["retrieval"])


def test_figures_are_those_of_evaluate_and_stand_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert retrieve(tmp_path, batch_size=8) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "retrieval" and [line[:14] for line in lines[1:]] == ["audio to video", "video to audio"]
    none = {"model": None, "audio_model": None, "video_model": None, "curves": None}
    outputs = {"metrics": tmp_path / "evaluation.json", "plots": tmp_path / "plots", "report": tmp_path / "report.html"}
    run_step("evaluate", {"dataset": tiny().dataset, "pretrained": tiny().pretrained, **none, **outputs})
    assert figures(tmp_path) == json.loads((tmp_path / "evaluation.json").read_text())["test"]["retrieval"]
    assert f"{figures(tmp_path)['audio_to_video']['r1']:.3f}" in lines[1] and "0.1250" in lines[1]


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    assert retrieve(tmp_path / "a") == retrieve(tmp_path / "b") == 0
    assert same_files(tmp_path / "a", tmp_path / "b") == []
    assert {path.name for path in (tmp_path / "a/gallery").iterdir()} == {
        "index.html",
        "audio_to_video.png",
        "video_to_audio.png",
    }


def test_classifiers_all_frames_and_official_ties_are_at_hand(tmp_path: Path) -> None:
    assert retrieve(tmp_path / "a", replicates=0, gallery_queries=0) == 0
    assert retrieve(tmp_path / "b", replicates=0, gallery_queries=0, frames="all", official_ties=True, split="val") == 0
    assert retrieve(tmp_path / "c", tiny().classifier(), replicates=0, gallery_queries=0) == 0
    middle, every = figures(tmp_path / "a"), figures(tmp_path / "b", "val")
    assert set(middle["audio_to_video"]) == {"r1", "r5", "r10", "median_rank", "chance_r1"}
    assert every["audio_to_video"]["rank_entries"] == 8
    assert figures(tmp_path / "c") != middle
    assert [path.name for path in (tmp_path / "a" / "gallery").iterdir()] == ["index.html"]


def test_what_cannot_be_retrieved_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert retrieve(tmp_path, dataset=tmp_path / "empty") == 2
    assert "not a validated data set" in capsys.readouterr().err
    assert retrieve(tmp_path, model=tmp_path / "none") == 2
    assert "no such model folder" in capsys.readouterr().err
    other = Path(shutil.copytree(tiny().pretrained, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    config["clip"]["sample_rate"] = 22050
    (other / "config.json").write_text(json.dumps(config))
    assert retrieve(tmp_path, model=other) == 2
    assert "is made for 22050 Hz" in capsys.readouterr().err
    assert retrieve(tmp_path, split="all") == 2
    assert "'retrieve.split' is 'all'" in capsys.readouterr().err
    assert not (tmp_path / "retrieval.json").exists() and not (tmp_path / "gallery").exists()


def test_only_an_earlier_gallery_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(shutil.copytree(tiny().pretrained, tmp_path / "model"))
    data = shutil.copytree(tiny().dataset.parent, tmp_path / "data") / tiny().dataset.name  # its shards lie beside it
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>mine</title>")
    (tmp_path / "link").symlink_to(tmp_path / "site")

    def run(gallery: Path, metrics: Path = tmp_path / "m.json") -> str:
        words = ["--model", model, "--dataset", data, "--gallery", gallery, "--metrics", metrics]
        code = main([*arguments("retrieve", replicates=0), *map(str, words)])
        error = capsys.readouterr().err
        assert code == (2 if error else 0) and error.count("\n") == bool(error)
        return error.removeprefix("cavmae retrieve: ")

    before = contents(tmp_path)
    for folder, told in (
        (model, "is an input, and would be replaced; name another place with --gallery"),
        (data / "gallery", f"lies in {data}, an input"),
        (tmp_path, "would be replaced as a whole, and"),
        (tmp_path / "site", "would be replaced as a whole, and holds 'index.html', which no earlier `cavmae retrieve` wrote"),
        (tmp_path / "link", "is a file or a link"),
        (model / "config.json", "is a file or a link"),
    ):
        assert run(folder).startswith(f"{folder}: {told}")
    gallery = tmp_path / "gallery"
    assert run(gallery, gallery / "m.json").startswith(
        f"{gallery}: would be replaced as a whole, and {gallery / 'm.json'} lies in"
    )
    assert run(gallery, model / "config.json").startswith(f"{model / 'config.json'}: lies in {model}, an input")
    (tmp_path / "m.json").write_text("{}")
    assert "m.json: would be replaced, and no earlier `cavmae retrieve` wrote it" in run(gallery)
    (tmp_path / "m.json").unlink()
    found = contents(tmp_path)
    assert before == {name: found[name] for name in found if not name.startswith("work/")}
    assert run(gallery) == run(gallery) == ""
    (gallery / "notes.txt").write_text("mine")
    assert "holds 'notes.txt', which" in run(gallery) and (gallery / "notes.txt").is_file()
