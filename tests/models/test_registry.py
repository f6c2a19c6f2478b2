"""A registry of either kind: one champion at all times, whoever promotes, comes too late, or promotes at the same time."""

import json
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG, WEIGHTS, model_fingerprint
from cavmae.models.registries import open_registry
from cavmae.models.registry_folder import FolderRegistry
from cavmae.models.registry_store import StoreRegistry
from cavmae.stores import open_store
from tests.models.promoting import champion, digest, keep_connections, model, proposal, put, version
from tests.s3_service import S3Service


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    keep_connections(monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    return model(tmp_path / "a", "aaa"), model(tmp_path / "b", "bbb"), model(tmp_path / "c", "ccc")


def content(place: str) -> dict[str, bytes]:
    """Everything that lies in a registry, but for what keeps others out."""
    store = open_store(place)
    return {name: store.read(name) for name in store.names() if name not in (".lock", "conditions")}


def test_versions_history_and_pointer_tell_of_two_promotions_and_one_that_was_not(
    place: str, models: tuple[Path, Path, Path]
) -> None:
    a, b, c = models
    assert champion(place) is None and content(place) == {}
    assert put(place, a, None, "one").changed and put(place, b, a, "two").changed
    kept = put(place, c, b, "three", promote=False)
    first, second = version(a), version(b)
    assert kept.champion == champion(place) == second
    assert {name.split("/")[1] for name in content(place) if name.startswith("versions/")} == {first, second}
    for one in (a, b):
        folder = open_registry(place).model_folder(version(one))
        assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, "lineage.json"}, "epochs' weights stay behind"
        assert model_fingerprint(folder) == model_fingerprint(one)
    rows = open_registry(place).history()
    assert [(row.outcome, row.from_version, row.to_version) for row in rows] == [
        ("promoted", None, first),
        ("promoted", first, second),
        ("kept", second, second),
    ]
    assert all(row.time and row.who and not row.late for row in rows)
    pointer = json.loads(content(place)["champion.json"])
    assert pointer["sha256"] == digest(b / WEIGHTS) and pointer["run_id"] == "two" and not {"time", "who"} & set(pointer)


def test_both_kinds_tell_the_same(tmp_path: Path, s3_server: S3Service, models: tuple[Path, Path, Path]) -> None:
    a, b, c = models
    told = []
    for place in (str(tmp_path / "registry"), f"s3://{s3_server.bucket()}"):
        put(place, a, None, "one")
        put(place, b, a, "two")
        put(place, c, b, "three", promote=False)
        rows = [row.model_dump(exclude={"time"}) for row in open_registry(place).history()]
        told.append((rows, content(place)["champion.json"]))
    assert told[0] == told[1] and len(told[0][0]) == 3


def test_a_run_promotes_once(place: str, models: tuple[Path, Path, Path]) -> None:
    a, b, c = models
    put(place, a, None, "one")
    put(place, b, a, "two")
    before = content(place)
    # also where the run compared again after it had promoted: the candidate is the champion then
    for again in (put(place, b, a, "two"), put(place, b, b, "two", promote=False), put(place, a, None, "one")):
        assert not again.changed and again.entry.outcome == "promoted" and again.champion == version(b)
    with pytest.raises(InputError, match=r"run two has brought candidate .* before, now it brings .*; give another run_id"):
        put(place, c, b, "two")
    assert content(place) == before


@pytest.mark.parametrize("promote", [True, False])
def test_a_decision_against_another_champion_is_refused(place: str, models: tuple[Path, Path, Path], promote: bool) -> None:
    a, b, c = models
    put(place, a, None, "one")
    put(place, b, a, "two")
    message = f"against champion {version(a)}, the champion now is {version(b)}: run `cavmae compare` again"
    with pytest.raises(StepFailed, match=message):
        put(place, c, a, "three", promote)
    with pytest.raises(StepFailed, match="against champion none"):
        put(place, c, None, "four", promote)
    assert champion(place) == version(b) and len(open_registry(place).history()) == 2


def test_a_decision_about_other_files_is_refused(place: str, models: tuple[Path, Path, Path]) -> None:
    a, b, _ = models
    with pytest.raises(InputError, match=f"another candidate: its {WEIGHTS} has the SHA-256 {version(b)}"):
        open_registry(place).promote(a, proposal(b, None, "one"), 0)
    right = proposal(a, None, "one")
    (a / CONFIG).write_text("{ }")
    with pytest.raises(InputError, match=f"another candidate: its {CONFIG}"):
        open_registry(place).promote(a, right, 0)
    assert content(place) == {}


def test_a_version_is_never_changed(place: str, models: tuple[Path, Path, Path]) -> None:
    a, b, _ = models
    put(place, a, None, "one")
    marks = {entry.name: entry.mark for entry in open_store(place).entries("versions/")}
    put(place, b, a, "two")
    put(place, a, b, "three")  # equal weights are the same version
    assert champion(place) == version(a)
    put(place, b, a, "four")
    (a / CONFIG).write_text("{ }")
    with pytest.raises(InputError, match=rf"{version(a)}.*{CONFIG}\b.* is not the one that was compared; a version is never"):
        put(place, a, b, "five")
    now = {entry.name: entry.mark for entry in open_store(place).entries("versions/")}
    assert {name: now[name] for name in marks} == marks and champion(place) == version(b)


def test_of_many_promotions_at_once_one_wins(
    place: str, tmp_path: Path, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place, models[0], None, "one")
    candidates = [model(tmp_path / f"m{number}", f"weights {number}") for number in range(6)]
    kind = type(open_registry(place))
    start, store = Barrier(len(candidates)), kind.add_version

    def slowly(self: Any, *arguments: Any) -> str:
        time.sleep(0.05)  # the others read the pointer meanwhile, if they can
        return store(self, *arguments)

    def race(candidate: Path) -> str:
        start.wait()
        try:
            return put(place, candidate, models[0], candidate.name).entry.candidate
        except StepFailed as error:
            assert "run `cavmae compare` again" in str(error)
            return ""

    assert kind in (FolderRegistry, StoreRegistry)
    monkeypatch.setattr(kind, "add_version", slowly)
    with ThreadPoolExecutor(len(candidates)) as pool:
        (winner,) = filter(None, pool.map(race, candidates))
    assert champion(place) == winner and [entry.to_version for entry in open_registry(place).history()][1:] == [winner]


def race_in_a_process(place: str, candidate: Path, run: str, start: Any, ended: Any) -> None:
    start.wait()
    try:
        ended.put((candidate.name, put(place, candidate, None, run).changed))
    except StepFailed as error:
        ended.put((candidate.name, str(error)))


@pytest.mark.parametrize("runs", [("one", "two"), ("same", "same")])
def test_two_processes_that_promote_the_first_champion_at_once(
    place: str, models: tuple[Path, Path, Path], runs: tuple[str, str]
) -> None:
    same = len(set(runs)) == 1
    candidates = (models[0], models[0] if same else models[1])
    fork = multiprocessing.get_context("fork")
    start, ended = fork.Barrier(2), fork.Queue()
    children = [
        fork.Process(target=race_in_a_process, args=(place, candidate, run, start, ended))
        for candidate, run in zip(candidates, runs, strict=True)
    ]
    for child in children:
        child.start()
    said = [ended.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    (winner,) = [name for name, changed in said if changed is True]
    (other,) = [changed for _, changed in said if changed is not True]
    assert other is False if same else "run `cavmae compare` again" in other
    assert champion(place) == version(models[0] if winner == "a" else models[1])
    (row,) = open_registry(place).history()
    assert row.to_version == champion(place) and not row.late


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("champion.json", None, r"is missing, though history\S* tells that"),
        ("champion.json", b"{", "not valid JSON|is no pointer to a champion"),
        ("champion.json", b'{"version": "../../../etc"}', "is no pointer to a champion"),
        ("history", b'{"time": 1}\n', "is no entry of a registry"),
        ("versions", None, "where no version is"),
    ],
)
def test_damage_is_named_and_never_taken_for_an_empty_registry(
    place: str, models: tuple[Path, Path, Path], name: str, damage: bytes | None, words: str
) -> None:
    put(place, models[0], None, "one")
    store = open_store(place)
    for one in list(store.names(name)):
        if damage is None:
            store.delete(one)
        else:
            store.write(one, damage)
    if name == "versions" and not place.startswith("s3://"):
        for folder in Path(place, "versions").iterdir():
            folder.rmdir()
    with pytest.raises(InputError, match=words) as raised:
        put(place, models[1], None, "two")
    assert place in str(raised.value) and "\n" not in str(raised.value)


def test_a_place_that_holds_other_things_is_no_registry(place: str, models: tuple[Path, Path, Path]) -> None:
    open_store(place).write("holiday/film.mp4", b"mine")
    with pytest.raises(InputError, match=f"{place}: is no registry, it holds 'holiday'"):
        put(place, models[0], None, "one")
    assert content(place) == {"holiday/film.mp4": b"mine"}
