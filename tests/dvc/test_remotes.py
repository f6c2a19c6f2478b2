"""What was pushed, pulled into a fresh clone: nothing is left to do there, and the audit finds it whole, or says what is not."""

import json
import shutil
from pathlib import Path

import pytest

from cavmae.cli import main
from cavmae.dataset.schema import CLIPS, read_rows
from tests.dvc.project import commit, run, stages_of

pytestmark = pytest.mark.slow


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def audit(registry: str, capsys: pytest.CaptureFixture[str], model: str = "models/final") -> tuple[int, dict[str, str]]:
    """Its exit code, and the state of each thing."""
    code = main(["audit", model, "--registry", registry, "--json"])
    told = capsys.readouterr()
    assert (code == 0) == (not told.err.startswith("cavmae audit:")), told.err
    return code, {f"{one['part']} {one['what']}": one["state"] for one in json.loads(told.out)["findings"]}


def test_a_fresh_clone_has_it_all_and_an_audit_there_says_so(
    project: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = f"{place}/registry"
    for step in ("compare", "promote"):
        run(project, "cavmae", step, "--candidate", "models/final", "--registry", registry)
    run(project, "dvc", "remote", "add", "-q", "-d", "store", f"{place}/dvc")
    commit(project, "remote")
    run(project, "dvc", "push", "-q")

    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    shutil.rmtree(project)
    said = run(clone, "dvc", "pull")
    locked = (clone / "dvc.lock").read_bytes()
    assert "fetched" in said and locked
    said = run(clone, "dvc", "repro")
    assert stages_of(said) == [] and "Data and pipelines are up to date." in said
    assert (clone / "dvc.lock").read_bytes() == locked and run(clone, "git", "status", "--porcelain") == ""
    assert "up to date" in run(clone, "dvc", "status")

    said = run(clone, "cavmae", "audit", "--registry", registry)
    assert said.splitlines()[-1].startswith("0 broken, 0 differs from lineage, ")
    monkeypatch.chdir(clone)
    code, states = audit(registry, capsys)
    assert code == 0
    claimed = {what for what, state in states.items() if state == "claimed"}
    assert claimed == {"circumstances models/final/run.json", "circumstances packages"}, "all else is proved"
    assert {"registry models/final/lineage.json", "data 4 of 4 shards in data/shards"} <= states.keys()
    assert {"sources 40 of 40 videos", "versions models/final"} <= states.keys()

    clip = next(read_rows(Path("data/validated/clips.parquet"), CLIPS))["video_id"]
    assert main(["audit", "--clip", clip, "--registry", registry, "--json"]) == 0
    usage = json.loads(capsys.readouterr().out)
    models = {row["model"].partition(",")[0] for row in usage["models"]}
    assert usage["unknown"] == [] and usage["data"] and models >= {"models/final", "models/adapted", registry}

    # the champion, brought from the registry alone
    run(clone, "cavmae", "fetch", "--registry", registry, "--model", "models/fetched")
    code, states = audit(registry, capsys, "models/fetched")
    assert code == 0 and states["registry models/fetched/model.safetensors"] == "proved"
    shutil.rmtree("models/fetched")

    for name, named in {
        "data/shards/train-00000.tar": "data data/shards/train-00000.tar",
        "models/final/metrics.json": "metrics models/final/metrics.json",
        "metrics/evaluation.json": "versions metrics/evaluation.json",
        "models/final/model.safetensors": "model models/final/model.safetensors",
        "models/pretrained/config.json": "ancestors models/pretrained/config.json",
    }.items():
        path = Path(name)
        whole = path.read_bytes()
        path.unlink()  # DVC's cache may be a link to it
        path.write_bytes(flip(whole))
        code, states = audit(registry, capsys)
        assert code == 1 and states.get(named) == "broken", (name, states)
        path.write_bytes(whole)
    assert audit(registry, capsys)[0] == 0

    # written through the link, the cache is wrong as well; and a model in the registry can be changed too
    shard = Path("data/shards/test-00000.tar")
    shard.chmod(0o644)
    shard.write_bytes(flip(shard.read_bytes()))
    kept = _flip_in_registry(registry)
    code, states = audit(registry, capsys)
    assert code == 1 and states[f"data {shard}"] == states[f"versions {shard}"] == "broken"
    assert any(state == "broken" for what, state in states.items() if what.startswith("registry ")), kept


def _flip_in_registry(registry: str) -> str:
    """Change a byte of the weights that the registry keeps, and forget what was downloaded of it."""
    from cavmae.stores import open_store

    shutil.rmtree(".cavmae", ignore_errors=True)
    if not registry.startswith("s3://"):
        weights = next(Path(registry).glob("versions/*/model.safetensors"))
        weights.write_bytes(flip(weights.read_bytes()))
        return str(weights)
    store = open_store(registry)
    name = next(name for name in store.names() if name.endswith("model.safetensors"))
    store.write(name, flip(store.read(name)))
    return name
