"""The way back: an earlier champion becomes the champion again, once, told of, and never a version that is not whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.models.files import WEIGHTS
from cavmae.models.registries import open_registry
from cavmae.models.registry import Promotion, Registry
from cavmae.models.rollback import line_of_champions, roll_back
from tests.models.promoting import champion, digest, keep_connections, model, put, version

Models = tuple[Path, Path, Path]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(Registry, "patience_s", 0.0)
    keep_connections(monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return model(tmp_path / "a", "aaa"), model(tmp_path / "b", "bbb"), model(tmp_path / "c", "ccc")


@pytest.fixture
def three(place: str, models: Models) -> Models:
    """A registry in which a, b and c were champion, one after another."""
    a, b, c = models
    put(place, a, None, "one"), put(place, b, a, "two"), put(place, c, b, "three")
    return models


def back(place: str, run: str, to: str | None = None) -> Promotion:
    return roll_back(open_registry(place), to, run, "it hears birds everywhere", wait_s=10)


def test_back_goes_to_the_one_before_and_further_with_each_call(place: str, three: Models) -> None:
    a, b, c = map(version, three)
    assert back(place, "r1").champion == champion(place) == b
    assert back(place, "r2").champion == champion(place) == a
    with pytest.raises(InputError, match="no champion before the present one"):
        back(place, "r3")
    rows = open_registry(place).history()
    assert [(row.outcome, row.from_version, row.to_version) for row in rows[3:]] == [("rolled_back", c, b), ("rolled_back", b, a)]
    assert rows[3].decision == rows[1].decision, "the decision that once made it champion"
    assert rows[3].reason == "it hears birds everywhere" and rows[3].run_id == "r1" and rows[3].who


def test_a_named_version_and_forward_again(place: str, three: Models) -> None:
    a, b, c = map(version, three)
    assert back(place, "r1", a[:6]).champion == a
    assert back(place, "r2", c).champion == c
    assert [entry.to_version for entry in line_of_champions(open_registry(place).history())] == [a, c]
    assert back(place, "r3").champion == a
    with pytest.raises(InputError, match=f"version {a} is the champion already"):
        back(place, "r4", a)
    for word in ("ffffffffffffffff", "", b[:3], "../versions"):
        with pytest.raises(InputError, match="name a version that was champion"):
            back(place, "r5", word)


@pytest.mark.parametrize(
    ("file", "content"),
    [("lineage.json", "{}"), ("lineage.json", "[]"), ("config.json", '{"other": 1}'), ("metrics.json", "{ }")],
)
def test_what_was_changed_does_not_become_champion(tmp_path: Path, models: Models, file: str, content: str) -> None:
    """In a folder, whose files nothing but their version's name and lineage vouches for."""
    a, b, _ = models
    (a / "metrics.json").write_text("{}")
    files = {"model.safetensors": digest(a / "model.safetensors"), "config.json": digest(a / "config.json")}
    lineage = {"step": "package", "metrics": digest(a / "metrics.json"), "parents": {"start": {"files": files}}}
    (a / "lineage.json").write_text(json.dumps(lineage))
    place = str(tmp_path / "registry")
    put(place, a, None, "one"), put(place, b, a, "two")
    (Path(place) / "versions" / version(a) / file).write_text(content)
    with pytest.raises(InputError, match=rf"{file}: is .*; restore it"):
        back(place, "r1")
    assert champion(place) == version(b)


def test_a_run_rolls_back_once(place: str, three: Models) -> None:
    a, b, _ = map(version, three)
    assert back(place, "r1").changed and not back(place, "r1").changed and champion(place) == b
    for run, to in (("r1", a), ("two", None)):
        with pytest.raises(InputError, match=f"run {run} has .* before; give another --run-id"):
            back(place, run, to)


def test_a_version_that_is_not_what_was_promoted_is_not_gone_back_to(
    tmp_path: Path, place: str, three: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, b, c = map(version, three)
    file = open_registry(place).model_folder(b) / WEIGHTS
    file.chmod(0o644)
    file.write_text("other")
    if place.startswith("s3"):
        monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "elsewhere"))
        store = open_registry(place).store  # type: ignore[attr-defined]
        (name,) = [name for name in store.names(f"versions/{b}/") if name.endswith(WEIGHTS)]
        store.write(name, b"other")
    with pytest.raises(InputError, match="is not what was promoted; restore it"):
        back(place, "r1")
    assert champion(place) == c and len(open_registry(place).history()) == 3


def test_a_candidate_that_was_measured_against_the_one_that_went_is_refused(place: str, three: Models, tmp_path: Path) -> None:
    back(place, "r1")
    with pytest.raises(StepFailed, match="run `cavmae compare` again"):
        put(place, model(tmp_path / "d", "ddd"), three[2], "four")
    assert put(place, three[2], three[1], "five").champion == version(three[2])


def test_one_that_was_killed_before_it_told_of_it_is_told_of_by_the_next(
    place: str, three: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = map(version, three)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Registry, "tell", die)
        back(place, "r1")
    assert champion(place) == b and len(open_registry(place).history()) == 3
    assert not back(place, "r1").changed, "its own retry finds it done"
    assert back(place, "r2").champion == a
    rows = open_registry(place).history()
    assert [(row.run_id, row.outcome, row.from_version, row.late) for row in rows[3:]] == [
        ("r1", "rolled_back", c, True),
        ("r2", "rolled_back", b, False),
    ]


def test_who_promotes_meanwhile_wins(place: str, three: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = open_registry(place)
    monkeypatch.setattr(registry, "point", lambda champion, expected: False)
    with pytest.raises(StepFailed, match="look at `cavmae history`"):
        roll_back(registry, None, "r1", "why", wait_s=10)
    assert champion(place) == version(three[2]) and len(open_registry(place).history()) == 3


def test_nothing_to_go_back_from(place: str) -> None:
    with pytest.raises(InputError, match="has no champion"):
        back(place, "r1")
