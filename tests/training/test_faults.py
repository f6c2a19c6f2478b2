"""A training command that meets a fault before any of its events and is run again ends where an undisturbed one ends."""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import REPOSITORY, arguments, same_files, tiny

SHORT = {"epochs": 2, "warmup_epochs": 1, "keep_epochs": 2, "checkpoint_s": 1e-9}
STEPS = 6  # two epochs of 32 clips in batches of 12
KINDS = ["SIGKILL", "SIGTERM", "SIGINT", "full"]
TRIES = 20  # of some hundred events; all of them with CAVMAE_ALL_FAULTS=1, for a machine with an hour to spare


def words(step: str, **changes: Any) -> list[str]:
    start = tiny().pretrained if step == "finetune" else tiny().adapted
    folders = {"dataset": tiny().dataset, "start": start, "model": "{out}/model", "curves": "{out}/curves.tsv"}
    flags = [word for name, path in (folders | {"events": "{out}/runs"}).items() for word in (f"--{name}", str(path))]
    return [*arguments(step, **SHORT | changes), *flags]


def carried_out(out: Path, step: str, faults: list[tuple[int, str]], **changes: Any) -> list[dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    (out / "plan.json").write_text(json.dumps({"words": words(step, **changes), "out": str(out), "faults": faults}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.faults", str(out / "plan.json")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@lru_cache(maxsize=4)
def undisturbed(step: str, device: str = "cpu") -> tuple[Path, list[str]]:
    (found,) = carried_out(tiny().root / f"undisturbed-{step}-{device}", step, [(0, "SIGKILL")], device=device)
    code, events, messages = found["first"]
    assert code == 0, messages
    return Path(found["out"]), events


def differences(left: Path, right: Path) -> list[str]:
    """What differs in the outputs and beside them; TensorBoard's events, the work folder and the logs may differ."""
    names = [{path.name for path in out.iterdir()} - {"runs", "work", "messages", "events.log"} for out in (left, right)]
    return [*sorted(names[0] ^ names[1]), *same_files(left / "model", right / "model")] + [
        "curves.tsv" for _ in [0] if (left / "curves.tsv").read_bytes() != (right / "curves.tsv").read_bytes()
    ]


def check(step: str, tries: list[dict[str, Any]], device: str = "cpu") -> None:
    right, _ = undisturbed(step, device)
    for found in tries:
        code, events, messages = found["first"]
        again, events_again, messages_again = found["again"]
        where = f"{found['fault']} before event {found['at']}, {events[-1]}:\n{messages}\nthen\n{messages_again}"
        assert "Traceback" not in messages + messages_again, where
        assert code in {"SIGKILL": {-9}, "SIGTERM": {75}, "SIGINT": {130}, "full": {0, 1}}[found["fault"]], where
        assert again == 0, where
        assert differences(Path(found["out"]), right) == [], where
        # every step was saved: what is done again is at most the one that was not, and the one before where that was being saved
        if device == "cpu":
            assert events_again.count("loss") <= STEPS - events.count("loss") + 2, where
        if code == 1:
            assert "No space left on device" in messages and found["out"] in messages, where
        if code in (75, 130):
            assert "run the same command to continue" in messages, where


def test_faults_at_some_events(tmp_path: Path) -> None:
    kinds = ["SIGKILL", "SIGTERM", "full"]
    _, events = undisturbed("finetune")
    check("finetune", carried_out(tmp_path, "finetune", [(len(events) * (2 * at + 1) // 6, kinds[at]) for at in range(3)]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_a_fault_at_many_events(tmp_path: Path, step: str, kind: str) -> None:
    events = len(undisturbed(step)[1])
    apart = 1 if os.environ.get("CAVMAE_ALL_FAULTS") else -(-events // TRIES)
    # each kind begins at an event of its own, so that together they meet more of them
    first = 1 + KINDS.index(kind) * apart // 4
    check(step, carried_out(tmp_path, step, [(at, kind) for at in range(first, events + 1, apart)]))
