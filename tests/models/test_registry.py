"""The registry: one champion at all times, whoever promotes, is killed, or comes too late."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from cavmae.models.folder import CONFIG, WEIGHTS
from cavmae.models.registry import Promotion, Proposal
from cavmae.models.registry_folder import FolderRegistry, open_registry


def model(folder: Path, weights: str) -> Path:
    """What a registry sees of a model folder."""
    (folder / "epochs").mkdir(parents=True)
    for name, text in ((WEIGHTS, weights), (CONFIG, "{}"), ("lineage.json", "{}"), ("epochs/1.safetensors", "large")):
        (folder / name).write_text(text)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def proposal(candidate: Path, against: Path | None, run: str, promote: bool = True) -> Proposal:
    return Proposal(
        run_id=run,
        decision=hashlib.sha256(run.encode()).hexdigest(),
        promote=promote,
        reason="because",
        weights=digest(candidate / WEIGHTS),
        config=digest(candidate / CONFIG),
        champion=digest(against / WEIGHTS) if against else None,
    )


def put(registry: Path, candidate: Path, against: Path | None, run: str, promote: bool = True) -> Promotion:
    return open_registry(registry).promote(candidate, proposal(candidate, against, run, promote), wait_s=10)


def champion(registry: Path) -> str | None:
    found = open_registry(registry).read_champion()
    return found.version if found else None


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    return model(tmp_path / "a", "aaa"), model(tmp_path / "b", "bbb"), model(tmp_path / "c", "ccc")


def test_versions_history_and_pointer_tell_of_two_promotions_and_one_that_was_not(
    tmp_path: Path, models: tuple[Path, Path, Path]
) -> None:
    (a, b, c), folder = models, tmp_path / "registry"
    assert champion(folder) is None and not folder.exists()
    assert put(folder, a, None, "one").changed and put(folder, b, a, "two").changed
    kept = put(folder, c, b, "three", promote=False)
    first, second = (digest(one / WEIGHTS)[:16] for one in (a, b))
    assert kept.champion == champion(folder) == second
    assert sorted(path.name for path in (folder / "versions").iterdir()) == sorted([first, second])
    files = {path.name for path in (folder / "versions" / first).iterdir()}
    assert files == {WEIGHTS, CONFIG, "lineage.json"}, "weights of single epochs stay behind"
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [(row["outcome"], row["from_version"], row["to_version"]) for row in rows] == [
        ("promoted", None, first),
        ("promoted", first, second),
        ("kept", second, second),
    ]
    assert all(row["time"] and row["who"] and not row["late"] for row in rows)
    pointer = json.loads((folder / "champion.json").read_text())
    assert pointer["sha256"] == digest(b / WEIGHTS) and pointer["run_id"] == "two" and not {"time", "who"} & set(pointer)


def test_a_run_promotes_once(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    (a, b, c), folder = models, tmp_path / "registry"
    put(folder, a, None, "one")
    put(folder, b, a, "two")
    before = (folder / "history.jsonl").read_bytes(), (folder / "champion.json").read_bytes()
    # also where the run compared again after it had promoted: the candidate is the champion then
    for again in (put(folder, b, a, "two"), put(folder, b, b, "two", promote=False), put(folder, a, None, "one")):
        assert not again.changed and again.entry.outcome == "promoted" and again.champion == digest(b / WEIGHTS)[:16]
    with pytest.raises(InputError, match=r"run two has brought candidate .* before, now it brings .*; give another run_id"):
        put(folder, c, b, "two")
    assert before == ((folder / "history.jsonl").read_bytes(), (folder / "champion.json").read_bytes())


@pytest.mark.parametrize("promote", [True, False])
def test_a_decision_against_another_champion_is_refused(tmp_path: Path, models: tuple[Path, Path, Path], promote: bool) -> None:
    (a, b, c), folder = models, tmp_path / "registry"
    put(folder, a, None, "one")
    put(folder, b, a, "two")
    old, new = (digest(one / WEIGHTS)[:16] for one in (a, b))
    with pytest.raises(StepFailed, match=f"against champion {old}, the champion now is {new}: run `cavmae compare` again"):
        put(folder, c, a, "three", promote)
    with pytest.raises(StepFailed, match="against champion none"):
        put(folder, c, None, "four", promote)
    assert champion(folder) == new and len(open_registry(folder).history()) == 2


def test_a_decision_about_other_files_is_refused(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    (a, b, _), folder = models, tmp_path / "registry"
    with pytest.raises(InputError, match=f"another candidate: its {WEIGHTS} has the SHA-256 {digest(b / WEIGHTS)[:16]}"):
        open_registry(folder).promote(a, proposal(b, None, "one"), 0)
    right = proposal(a, None, "one")
    (a / CONFIG).write_text("{ }")
    with pytest.raises(InputError, match=f"another candidate: its {CONFIG}"):
        open_registry(folder).promote(a, right, 0)
    assert not folder.exists()


def test_a_version_is_never_changed(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    (a, b, _), folder = models, tmp_path / "registry"
    put(folder, a, None, "one")
    put(folder, b, a, "two")
    version = folder / "versions" / digest(a / WEIGHTS)[:16]
    inode = version.stat().st_ino
    put(folder, a, b, "three")  # equal weights are the same version
    assert version.stat().st_ino == inode and champion(folder) == version.name
    put(folder, b, a, "four")
    (a / CONFIG).write_text("{ }")
    with pytest.raises(InputError, match=f"{version}: its {CONFIG} is not the one that was compared; a version is never"):
        put(folder, a, b, "five")
    assert not any(path.stat().st_mode & 0o222 for path in version.iterdir())


def test_of_many_promotions_at_once_one_wins(
    tmp_path: Path, models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "registry"
    put(folder, models[0], None, "one")
    candidates = [model(tmp_path / f"m{number}", f"weights {number}") for number in range(6)]
    start, store = Barrier(len(candidates)), FolderRegistry.add_version

    def slowly(self: FolderRegistry, *arguments: Any) -> str:
        time.sleep(0.05)  # the others read the pointer meanwhile, if they can
        return store(self, *arguments)

    def race(candidate: Path) -> str:
        start.wait()
        try:
            return put(folder, candidate, models[0], candidate.name).entry.candidate
        except StepFailed as error:
            assert "run `cavmae compare` again" in str(error)
            return ""

    monkeypatch.setattr(FolderRegistry, "add_version", slowly)
    with ThreadPoolExecutor(len(candidates)) as pool:
        (winner,) = filter(None, pool.map(race, candidates))
    assert champion(folder) == winner and [entry.to_version for entry in open_registry(folder).history()][1:] == [winner]


def test_who_waits_too_long_is_told(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    folder = tmp_path / "registry"
    with FolderRegistry(folder).exclusive(0), pytest.raises(StepFailed, match="another promotion is at work"):
        open_registry(folder).promote(models[0], proposal(models[0], None, "one"), 0)
    assert put(folder, models[0], None, "one").changed


def die_at(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is gone, as by SIGKILL, before its `step`-th write; tell whether it came that far."""
    child = os.fork()
    if child == 0:
        left = step

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                if left == 0:
                    if function is real_write:
                        real_write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                    os._exit(9)
                left -= 1
                return function(*arguments, **named)

            return call

        real_write = os.write
        for name in ("write", "replace", "fsync", "mkdir", "truncate", "chmod"):
            setattr(os, name, watched(getattr(os, name)))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def test_a_killed_promotion_leaves_the_old_champion_or_the_new_and_the_next_run_repairs(
    tmp_path: Path, models: tuple[Path, Path, Path]
) -> None:
    a, b, c = models
    old, new = (digest(one / WEIGHTS)[:16] for one in (a, b))
    seen, late, step, killed = [], 0, 0, True
    while killed:
        folder = tmp_path / f"registry{step}"
        put(folder, a, None, "one")
        killed = die_at(step, partial(put, folder, b, a, "two"))
        seen.append(champion(folder))
        assert seen[-1] in (old, new)
        if step % 2 and seen[-1] == new:  # another run repairs, and is refused: it knows of the old champion alone
            with pytest.raises(StepFailed, match=f"champion now is {new}"):
                put(folder, c, a, "three")
        else:
            assert put(folder, b, a, "two").changed == (seen[-1] == old)
        assert champion(folder) == new
        rows = open_registry(folder).history()
        assert [(row.run_id, row.to_version) for row in rows] == [("one", old), ("two", new)]
        late += rows[1].late
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "champion.json", "history.jsonl", "versions"]
        assert sorted(path.name for path in (folder / "versions").iterdir()) == sorted([old, new])
        step += 1
    assert step > 8 and late >= 2 and seen == sorted(seen, key=lambda version: version == new), "old before, new after"


def test_what_a_killed_first_promotion_left_is_a_registry_still(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    step = 0
    while die_at(step, partial(put, tmp_path / f"r{step}", models[0], None, "one")):
        put(tmp_path / f"r{step}", models[0], None, "one")
        assert champion(tmp_path / f"r{step}") == digest(models[0] / WEIGHTS)[:16]
        step += 1
    assert step > 8


def test_links_foreign_folders_and_addresses_are_refused(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    real = tmp_path / "real"
    put(real, models[0], None, "one")
    (tmp_path / "link").symlink_to(real)
    for place, words in (
        (tmp_path / "link", "is a symbolic link"),
        (models[0], "is no registry, it holds 'config.json'"),
        (models[0] / CONFIG, "is no folder"),
        (Path("s3://bucket/registry"), "one on S3 cannot be used yet"),
    ):
        with pytest.raises(InputError, match=words):
            put(place, models[1], None, "two")
    for name in ("champion.json", "history.jsonl", "versions", ".lock"):
        moved = (real / name).rename(tmp_path / "moved")
        (real / name).symlink_to(moved)
        with pytest.raises(InputError, match=f"{name}: is a symbolic link"):
            put(real, models[1], models[0], "two")
        (real / name).unlink()
        moved.rename(real / name)
    assert put(real, models[1], models[0], "two").changed


def test_a_version_that_another_run_had_begun_to_copy_is_cleared_away(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    a, b, c = models
    folder = tmp_path / "registry"
    put(folder, a, None, "one")
    step = 0
    while not list((folder / "versions").glob("*.partial")):
        assert die_at(step, partial(put, folder, b, a, "two")) and champion(folder) == digest(a / WEIGHTS)[:16]
        step += 1
    put(folder, c, a, "three")
    assert {path.name for path in (folder / "versions").iterdir()} == {digest(one / WEIGHTS)[:16] for one in (a, c)}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("champion.json", None, "is missing, though history.jsonl tells that"),
        ("champion.json", "{", "not valid JSON"),
        ("champion.json", '{"version": "../../../etc"}', "is no pointer to a champion"),
        ("history.jsonl", '{"time": 1}\n', "line 1: is no entry of a registry"),
        ("versions", None, "where no version is"),
    ],
)
def test_damage_is_named_and_never_taken_for_an_empty_registry(
    tmp_path: Path, models: tuple[Path, Path, Path], name: str, content: str | None, words: str
) -> None:
    folder = tmp_path / "registry"
    put(folder, models[0], None, "one")
    (folder / name).rename(tmp_path / "away")
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=words):
        put(folder, models[1], None, "two")
