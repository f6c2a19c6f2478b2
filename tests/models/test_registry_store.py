"""The registry on S3, which has no lock: conditional writes decide, and a promotion that was killed is told of by the next."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import CONFIG, WEIGHTS, model_fingerprint
from cavmae.models.registries import open_registry
from cavmae.models.registry_store import StoreRegistry
from cavmae.stores import open_store
from cavmae.stores_s3 import S3Store
from tests.models.promoting import champion, die_at, keep_connections, model, put, version
from tests.s3_service import READ_ONLY_KEY, S3Service

WRITES = [(S3Store, name) for name in ("put", "write_if", "delete")]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    keep_connections(monkeypatch)
    monkeypatch.setattr(StoreRegistry, "patience_s", 0.0)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    return model(tmp_path / "a", "aaa"), model(tmp_path / "b", "bbb"), model(tmp_path / "c", "ccc")


@pytest.fixture
def place(s3_server: S3Service) -> str:
    return f"s3://{s3_server.bucket()}/registry"


def before(monkeypatch: pytest.MonkeyPatch, method: str, work: Callable[[], Any]) -> None:
    """Do `work` once, before the first call of a registry's method: what another machine may do at that moment."""
    real, left = getattr(StoreRegistry, method), [work]

    def call(self: StoreRegistry, *arguments: Any) -> Any:
        if left:
            left.pop()()
        return real(self, *arguments)

    monkeypatch.setattr(StoreRegistry, method, call)


def test_a_killed_promotion_leaves_the_old_champion_or_the_new_and_the_next_run_tells_of_it(
    place: str, models: tuple[Path, Path, Path]
) -> None:
    a, b, c = models
    old, new = version(a), version(b)
    seen, late, step, killed = [], 0, 0, True
    while killed:
        there = f"{place}{step}"
        put(there, a, None, "one")
        killed = die_at(step, partial(put, there, b, a, "two"), *WRITES)
        seen.append(champion(there))
        assert seen[-1] in (old, new)
        if step % 2 and seen[-1] == new:  # another run repairs, and is refused: it knows of the old champion alone
            with pytest.raises(StepFailed, match=f"champion now is {new}"):
                put(there, c, a, "three")
        else:
            assert put(there, b, a, "two").changed == (seen[-1] == old)
        assert champion(there) == new and model_fingerprint(open_registry(there).model_folder(new)) == model_fingerprint(b)
        rows = open_registry(there).history()
        assert [(row.run_id, row.to_version) for row in rows] == [("one", old), ("two", new)]
        late += rows[1].late
        step += 1
    assert step == 10 and late == 1, "three tries of conditions, three files, manifest, pointer, entry"


def test_the_run_that_promotes_tells_of_it_itself_where_another_looks_meanwhile(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = models
    put(place, a, None, "one")
    told: list[str] = []

    def look() -> None:
        monkeypatch.setattr(StoreRegistry, "patience_s", 0.3)
        with pytest.raises(StepFailed, match=f"champion now is {version(b)}") as raised:
            put(place, c, a, "three")
        told.append(str(raised.value))

    # the pointer has moved and the entry is about to be written, when the other run waits and then tells of it
    before(monkeypatch, "append", look)
    done = put(place, b, a, "two")
    rows = open_registry(place).history()
    assert told and [(row.run_id, row.late) for row in rows] == [("one", False), ("two", True)]
    assert done.changed and done.entry == rows[1] and done.champion == version(b), "one entry for one run, whoever wrote it"


@pytest.mark.parametrize("method", ["read_champion", "add_version", "point"])
def test_who_promotes_between_two_steps_of_another_promotion_is_champion(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    a, b, c = models
    put(place, a, None, "one")
    before(monkeypatch, method, lambda: put(place, c, a, "other"))
    with pytest.raises(StepFailed, match=f"against champion {version(a)}, the champion now is {version(c)}"):
        put(place, b, a, "two")
    assert champion(place) == version(c)
    assert [row.run_id for row in open_registry(place).history()] == ["one", "other"]


def test_a_decision_to_keep_is_not_written_behind_a_promotion_that_it_knew_nothing_of(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = models
    put(place, a, None, "one")
    before(monkeypatch, "append", lambda: put(place, b, a, "two"))
    with pytest.raises(StepFailed, match=f"the champion now is {version(b)}"):
        put(place, c, a, "three", promote=False)
    assert [row.run_id for row in open_registry(place).history()] == ["one", "two"]


def test_the_same_weights_with_other_files_at_the_same_time_are_one_whole_version(
    place: str, models: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = models
    put(place, a, None, "one")
    twin = model(tmp_path / "twin", "bbb")
    (twin / "README.md").write_text("another card")
    real = S3Store.write_if

    def slowly(self: S3Store, name: str, *arguments: Any) -> bool:
        if name.endswith("manifest.json"):
            monkeypatch.setattr(S3Store, "write_if", real)
            put(place, twin, a, "two")
        return real(self, name, *arguments)

    monkeypatch.setattr(S3Store, "write_if", slowly)
    with pytest.raises(StepFailed, match=f"the champion now is {version(b)}"):
        put(place, b, a, "three")
    folder = open_registry(place).model_folder(version(b))
    assert (folder / "README.md").read_text() == "another card"
    names = list(open_store(place).names(f"versions/{version(b)}/"))
    assert len(names) == 5 and len({name.split("/")[2] for name in names}) == 2, "one folder and the manifest"


def test_a_version_is_brought_here_once_and_again_where_it_is_not_whole(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = models[0]
    put(place, a, None, "one")
    fetched: list[str] = []
    real = S3Store.fetch
    monkeypatch.setattr(S3Store, "fetch", lambda self, name, path: (fetched.append(name), real(self, name, path))[1])
    folder = open_registry(place).model_folder(version(a))
    assert len(fetched) == 3 and open_registry(place).model_folder(version(a)) == folder and len(fetched) == 3
    for damage in ((folder / WEIGHTS).unlink, lambda: (folder / CONFIG).write_text("[]"), (folder / "more").touch):
        damage()
        assert model_fingerprint(open_registry(place).model_folder(version(a))) == model_fingerprint(a)
    assert len(fetched) == 12


@pytest.mark.parametrize(
    ("ending", "damage", "words"),
    [
        (WEIGHTS, b"bbb", f"{WEIGHTS}: is not what was promoted; restore it"),
        (WEIGHTS, None, f"{WEIGHTS}: is missing; restore it"),
        ("manifest.json", b"{}", "does not say what a version holds"),
        ("manifest.json", b'{"folder": "0123456789abcdef", "files": {"../x": "%s"}}' % (b"0" * 64), "is no name of a file"),
        ("manifest.json", b'{"folder": "../../..", "files": {}}', "does not say what a version holds"),
    ],
)
def test_what_is_damaged_or_hostile_is_not_brought_here(
    place: str, models: tuple[Path, Path, Path], tmp_path: Path, ending: str, damage: bytes | None, words: str
) -> None:
    put(place, models[0], None, "one")
    store = open_store(place)
    (name,) = [name for name in store.names() if name.endswith(ending)]
    store.delete(name) if damage is None else store.write(name, damage)
    with pytest.raises(InputError, match=words) as raised:
        open_registry(place).model_folder(version(models[0]))
    assert f"{place}/versions/" in str(raised.value) and "\n" not in str(raised.value)
    assert not list((tmp_path / "work").rglob("*.*"))
    if ending == WEIGHTS and damage is None:
        with pytest.raises(InputError, match=f"{WEIGHTS}: is missing; restore it"):
            put(place, models[0], models[0], "two")


def test_a_hole_or_a_stranger_in_the_history_is_named(place: str, models: tuple[Path, Path, Path]) -> None:
    a, b, _ = models
    put(place, a, None, "one")
    put(place, b, a, "two")
    store = open_store(place)
    kept = store.read("history/000000001.json")
    store.delete("history/000000001.json")
    with pytest.raises(InputError, match=r"history: holds '000000002\.json' where history/000000001\.json should be"):
        put(place, a, b, "three")
    store.write("history/000000001.json", kept)
    store.write("history/notes.txt", b"mine")
    with pytest.raises(InputError, match=r"history: holds 'notes\.txt'"):
        put(place, a, b, "three")


def test_who_may_only_read_can_compare_and_not_promote(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = models
    put(place, a, None, "one")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READ_ONLY_KEY)
    assert champion(place) == version(a) and open_registry(place).model_folder(version(a)).is_dir()
    with pytest.raises(InputError, match=r"s3://.*access is denied"):
        put(place, b, a, "two")


@pytest.mark.parametrize("ignored", ["IfNoneMatch", "IfMatch"])
def test_a_service_that_does_not_know_conditions_is_refused(
    place: str, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    a, b, _ = models
    put(place, a, None, "one")
    real = S3Store.write_if

    def write_if(self: S3Store, name: str, content: bytes, expected: str | None) -> bool:
        if (expected is None) != (ignored == "IfNoneMatch"):
            return real(self, name, content, expected)
        self.write(name, content)
        return True

    monkeypatch.setattr(S3Store, "write_if", write_if)
    with pytest.raises(InputError, match=f"{place}: the service does not keep to the condition of a write"):
        put(place, b, a, "two")
    assert champion(place) == version(a)


def test_a_bucket_that_is_not_there_is_wrong_input_and_a_bucket_may_be_the_registry(
    s3_server: S3Service, models: tuple[Path, Path, Path]
) -> None:
    with pytest.raises(InputError, match="there is no such bucket"):
        open_registry("s3://t-no-such-bucket/registry")
    bucket = s3_server.bucket()
    for place in (f"s3://{bucket}", f"s3://{bucket}/"):
        put(place, models[0], None, "one")
        assert champion(place) == version(models[0])
    keys = [item["Key"] for item in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert {key.split("/")[0] for key in keys} == {"champion.json", "conditions", "history", "versions"}
    row = json.loads(s3_server.client().get_object(Bucket=bucket, Key="history/000000001.json")["Body"].read())
    assert row["outcome"] == "promoted"
