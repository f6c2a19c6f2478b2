"""A project with a whole line of models, from shards to a packaged one, that tests may copy and tamper with."""

import json
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from cavmae.audit.audit import audit_model
from cavmae.audit.findings import Audit
from tests.training.tiny import PARAMS, run_step, tiny

MODEL = Path("models/final")
FIGURES = '{"test": {"multimodal": {"accuracy": 0.5, "mAP": 0.5}}}\n'


@lru_cache(maxsize=1)
def _made() -> Path:
    root = tiny().root / "audited"
    shutil.copytree(tiny().root / "data", root / "data")
    models = root / "models"
    shutil.copytree(tiny().adapted, models / "adapted")
    shutil.copytree(tiny().pretrained, models / "pretrained")
    shutil.copytree(tiny().classifier(), models / "finetuned")
    (root / "metrics").mkdir()
    (root / "metrics" / "evaluation.json").write_text(FIGURES)
    shutil.copyfile(PARAMS, root / "params.yaml")
    before = os.environ.get("CAVMAE_WORK")
    os.environ["CAVMAE_WORK"] = str(root / ".cavmae")
    try:
        run_step("average", {"start": models / "finetuned", "model": models / "averaged"})
        metrics = root / "metrics" / "evaluation.json"
        run_step("package", {"start": models / "averaged", "metrics": metrics, "model": models / "final"})
    finally:
        if before is None:
            del os.environ["CAVMAE_WORK"]
        else:
            os.environ["CAVMAE_WORK"] = before
    return root


def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of the project, and it the current folder."""
    shutil.copytree(_made(), folder)
    monkeypatch.chdir(folder)
    return folder


def audited(registry: str | None = None, sources: bool = True) -> Audit:
    """Audit the final model of the project in the current folder."""
    return audit_model(MODEL, Path("data/validated"), Path("tests-params.yaml"), registry, sources)


def said(audit: Audit, *states: str) -> list[str]:
    """Parts and things with these states."""
    return [f"{finding.part}: {finding.what}" for finding in audit.findings if finding.state in states]


def rewrite(project: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the final model's lineage says."""
    path = project / "models/final/lineage.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
