"""The proof of S3: the same data on a laptop and by way of S3, in parts, give the same bytes up to the trained weights."""

import csv
from pathlib import Path

import pytest

from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.dataset.shelf import Shelf
from cavmae.storage import read_json
from cavmae.stores import open_store
from tests.s3_service import S3Service
from tests.steps.command import contents, die, run
from tests.training.tiny import run_step, train

SAMPLE = {"clips": 48, "seconds": 0.6, "size": 32, "fps": 10}
EXTRACT = ["--frames", "4", "--frame-size", "32", "--workers", "1"]


def cavmae(folder: Path, *words: str) -> str:
    code, said = run(words, folder)
    assert code == 0, said
    return said


@pytest.mark.slow
def test_by_way_of_s3_and_in_parts_everything_is_the_same_to_the_byte(
    tmp_path: Path, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = f"s3://{s3_server.bucket()}"
    settings = [word for key, value in SAMPLE.items() for word in ("--set", f"sample.{key}={value}")]
    cavmae(tmp_path, "ingest", *settings, "--out", "rendered")
    with Path("rendered/sample/list.csv").open("w", newline="") as file:
        rows = [
            (Path(row["path"]).name, ";".join(row["labels"]), row["split"])
            for row in read_rows(Path("rendered/clips.parquet"), CLIPS)
        ]
        csv.writer(file).writerows([("path", "labels", "split"), *rows])
    for path in Path("rendered/sample").iterdir():
        open_store(f"{location}/videos").put(path.name, path)

    # the laptop: a list here, shards in a folder
    cavmae(tmp_path, "ingest", "--source", "rendered/sample/list.csv", "--out", "laptop/ingest", "--shard-clips", "7")
    cavmae(tmp_path, "extract", "--clips", "laptop/ingest", "--out", "laptop/shards", *EXTRACT)
    cavmae(tmp_path, "validate", "--clips", "laptop/ingest", "--shards", "laptop/shards", "--out", "laptop/validated")

    # the cluster: the same list on S3; three parts, of which one is killed and started again; shards in a bucket
    cavmae(tmp_path, "ingest", "--source", f"{location}/videos/list.csv", "--out", "s3/ingest", "--shard-clips", "7")
    store = ["--store", f"{location}/shards", *EXTRACT]
    assert die([*PART, "2/3", *store], tmp_path, stored=3)
    for number in (1, 2, 3):
        cavmae(tmp_path, *PART, f"{number}/3", *store)
    said = cavmae(tmp_path, "extract", "--clips", "s3/ingest", "--out", "s3/shards", *store)
    assert "(0 shards written now)" in said and "0 clips decoded" in said
    cavmae(tmp_path, "validate", "--clips", "s3/ingest", "--shards", "s3/shards", "--out", "s3/validated")

    # the same shards, index and books; rows differ in where a clip came from alone
    laptop, cluster = contents(tmp_path / "laptop"), contents(tmp_path / "s3")
    shelf = Shelf.beside(Path("s3/validated"))
    assert shelf is not None and shelf.root == f"{location}/shards"
    names = [shard["name"] for shard in read_json(Path("laptop/shards/index.json"))["shards"]]
    assert len(names) >= 8
    for name in names:
        assert shelf.store.read(shelf.tar(name)) == laptop[f"shards/{name}.tar"]
    for name in ("shards/index.json", "shards/facts.parquet", "validated/index.json", "validated/labels.csv"):
        assert laptop[name] == cluster[name], name
    clips = [list(read_rows(Path(f"{place}/validated/clips.parquet"), CLIPS)) for place in ("laptop", "s3")]
    origin = {"path": None, "group": None, "source": None}
    assert [{**row, **origin} for row in clips[0]] == [{**row, **origin} for row in clips[1]] and len(clips[0]) >= 40

    # from the manifest of S3 without a store, really every byte, and the model that is trained on it
    cavmae(tmp_path, "extract", "--clips", "s3/ingest", "--out", "here/shards", *EXTRACT)
    cavmae(tmp_path, "validate", "--clips", "s3/ingest", "--shards", "here/shards", "--out", "here/validated")
    here = contents(tmp_path / "here")
    for name in ("shards/index.json", "shards/facts.parquet", "shards/quarantine.parquet"):
        assert here[name] == cluster[name], name
    validated = [{name: content for name, content in tree.items() if name.startswith("validated/")} for tree in (here, cluster)]
    assert {name for name in validated[0] if validated[0][name] != validated[1].get(name)} == {"validated/location.json"}
    models = []
    for place in ("here", "s3"):
        run_step("adapt", {"dataset": tmp_path / place / "validated", "model": tmp_path / place / "adapted"})
        dataset, start_from = tmp_path / place / "validated", tmp_path / place / "adapted"
        models.append(contents(train("pretrain", tmp_path / place / "trained", dataset, start_from)))
    assert models[0] == models[1] and "model.safetensors" in models[0]

    # a clip more is one shard more
    before = {entry.name: entry.mark for entry in open_store(f"{location}/shards").entries()}
    with Path("rendered/sample/list.csv").open("a", newline="") as file:
        csv.writer(file).writerow(("again.mp4", rows[0][1], "train"))
    film = Path("rendered/sample") / rows[0][0]
    Path("again.mp4").write_bytes(film.read_bytes() + b"\0\0\0\x08free")
    open_store(f"{location}/videos").put("again.mp4", Path("again.mp4"))
    open_store(f"{location}/videos").put("list.csv", Path("rendered/sample/list.csv"))
    cavmae(tmp_path, "ingest", "--source", f"{location}/videos/list.csv", "--out", "s3/ingest", "--shard-clips", "7")
    said = cavmae(tmp_path, "extract", "--clips", "s3/ingest", "--out", "s3/shards", *store)
    assert "(1 shards written now)" in said and "1 clips decoded" in said
    after = {entry.name: entry.mark for entry in open_store(f"{location}/shards").entries()}
    assert {name: mark for name, mark in after.items() if name in before} == before and len(after) == len(before) + 2


PART = ["extract", "--clips", "s3/ingest", "--out", "part", "--part"]
