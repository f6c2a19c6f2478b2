"""Candidates, and proposals to promote them, for the tests of registries."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cavmae import stores_s3
from cavmae.models.files import CONFIG, WEIGHTS
from cavmae.models.registries import open_registry
from cavmae.models.registry import Promotion, Proposal


def keep_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all stores of a process share one connection: to make one takes longer than a promotion."""
    real, made = stores_s3._start, dict[tuple[int, str | None], Any]()

    def start() -> Any:
        key = os.getpid(), os.environ.get("AWS_ACCESS_KEY_ID")
        if key not in made:
            made[key] = real()
        return made[key]

    monkeypatch.setattr(stores_s3, "_start", start)


def model(folder: Path, weights: str) -> Path:
    """What a registry sees of a model folder."""
    (folder / "epochs").mkdir(parents=True)
    for name, text in (
        (WEIGHTS, weights),
        (CONFIG, "{}"),
        ("lineage.json", '{"step": "average"}'),
        ("epochs/1.safetensors", "large"),
    ):
        (folder / name).write_text(text)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(model: Path) -> str:
    return digest(model / WEIGHTS)[:16]


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


def put(registry: str | Path, candidate: Path, against: Path | None, run: str, promote: bool = True) -> Promotion:
    return open_registry(str(registry)).promote(candidate, proposal(candidate, against, run, promote), wait_s=10)


def champion(registry: str | Path) -> str | None:
    found = open_registry(str(registry)).read_champion()
    return found.version if found else None


def die_at(step: int, work: Callable[[], object], *targets: tuple[Any, str]) -> bool:
    """Do `work` in a child that is gone, as by SIGKILL, before its `step`-th call of a target; tell whether it came that far."""
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
        for owner, name in targets:
            setattr(owner, name, watched(getattr(owner, name)))
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9
