"""What the Kubeflow UI shows of a step beside its files: figures, a confusion matrix, an ROC curve, learning curves."""

import math
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cavmae.dataset.validation import Verdict
    from cavmae.evaluation.comparison import Comparison
    from cavmae.models.registry import Promotion

_LINK_BESIDE = re.compile(r'<a [^>]*href="great_expectations_[^"]*"[^>]*>(.*?)</a>', re.S)
_MOST_CLASSES = 60  # the UI draws every cell of a confusion matrix
_CLASSIFIER = ("accuracy", "mAP", "mAUC", "d_prime", "f1")
_RETRIEVAL = ("r1", "r5", "r10", "median_rank")


def show_evaluation(metrics: str, plots: str, dataset: str, scalars: Any, classification: Any) -> None:
    """Log what `evaluate` wrote to the kfp artifacts `scalars` (Metrics) and `classification` (ClassificationMetrics)."""
    from cavmae.evaluation.document import read_metrics

    for figures in read_metrics(Path(metrics)).values():
        for name, value in headline_figures(figures).items():
            scalars.log_metric(name, value)
    _keep(scalars)
    names, matrix, roc = _of_first_model(Path(plots), Path(dataset) / "labels.csv")
    if matrix and len(names) <= _MOST_CLASSES:
        classification.log_confusion_matrix(names, matrix)
    if roc:
        classification.log_roc_curve(*([row[key] for row in roc] for key in ("fpr", "tpr", "threshold")))
    _keep(classification)


def headline_figures(figures: dict[str, Any]) -> dict[str, float]:
    """Return `{"multimodal mAP": 0.9, ...}` of one split, without what is no finite number."""
    groups = {name: (values, _CLASSIFIER) for name, values in figures.items() if isinstance(values, dict) and "mAP" in values}
    groups |= {name.replace("_", " "): (values, _RETRIEVAL) for name, values in figures.get("retrieval", {}).items()}
    return {
        f"{name} {key}": float(values[key])
        for name, (values, keys) in groups.items()
        for key in keys
        if isinstance(values.get(key), int | float) and math.isfinite(values[key])
    }


def show_learning(title: str, curves: str, scalars: Any, page: str) -> None:
    """Log the last epoch of a curve file to the kfp artifact `scalars` (Metrics), and write a page with all of them."""
    from cavmae.evaluation.learning_page import learning_page
    from cavmae.evaluation.page import write_page
    from cavmae.training.curves import read_curves

    rows = read_curves(Path(curves))
    for name, value in rows[-1].items() if rows else ():
        if math.isfinite(value):
            scalars.log_metric(name, value)
    _keep(scalars)
    write_page(Path(page), learning_page(title, rows))


def show_verdict(verdict: "Verdict", page: str, counts: Any) -> None:
    """Copy the validation page without links to pages beside it, and log counts to the kfp artifact `counts` (Metrics)."""
    text = verdict.page.read_text(encoding="utf-8")
    Path(page).write_text(_LINK_BESIDE.sub(r"\1", text), encoding="utf-8")
    for name, value in verdict.counts.items():
        counts.log_metric(name, value)
    _keep(counts)


def show_card(model: str, card: str) -> None:
    """Copy the model card to where the UI shows it."""
    shutil.copyfile(Path(model) / "README.md", card)


def show_comparison(found: "Comparison", metric: str, figures: Any, page: str) -> None:
    """Log the metric of candidate and champion, and their difference with its interval, to the kfp artifact `figures`.

    The page says what was decided and why, and which labels one of them does not know.
    """
    lines = [f"## {'Promote' if found.promote else 'Keep the champion'}", "", found.reason, ""]
    for who, contender in (("candidate", found.candidate), ("champion", found.champion)):
        if contender is not None:
            value = contender.figures.get(metric)
            lines.append(f"- {who}: {metric} {'-' if value is None else f'{value:.4f}'}")
            if contender.unknown:
                lines.append(f"- labels that the {who} does not know: {len(contender.unknown)}")
    if found.differences:
        one = found.differences[metric]
        lines.append(f"- difference: {one['difference']:+.4f}, interval {one['low']:+.4f} to {one['high']:+.4f}")
    lines.append(f"- measured on {len(found.clips)} clips of {found.groups} groups")
    Path(page).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, contender in (("candidate", found.candidate), ("champion", found.champion)):
        if contender is not None and contender.figures.get(metric) is not None:
            figures.log_metric(f"{name} {metric}", float(contender.figures[metric]))
    for key, value in (found.differences or {}).get(metric, {}).items():
        if isinstance(value, int | float):
            figures.log_metric(f"{metric} {key}", float(value))
    _keep(figures)


def promotion_sentence(done: "Promotion") -> str:
    """What was done, in a sentence."""
    from cavmae.steps.promote import outcome

    return outcome(done)


def _of_first_model(plots: Path, labels: Path) -> tuple[list[str], list[list[int]], list[dict[str, float]]]:
    """Names of the classes, confusion counts and one ROC over all classes, of the first model in predictions.parquet."""
    import numpy as np

    from cavmae.dataset.labels import read_labels
    from cavmae.dataset.schema import read_rows
    from cavmae.evaluation.curves import confusion_matrix, pooled_roc
    from cavmae.evaluation.presentation import PREDICTIONS

    names = [label.display_name for label in read_labels(labels)]
    rows = list(read_rows(plots / "predictions.parquet", PREDICTIONS))
    rows = [row for row in rows if row["model"] == rows[0]["model"]]
    if not rows or not names:
        return names, [], []
    score_NC = np.array([row["scores"] for row in rows])
    target_NC = np.array([[name in row["labels"] for name in names] for row in rows], dtype=np.float32)
    return names, confusion_matrix(target_NC, score_NC).tolist(), pooled_roc(target_NC, score_NC)


def _keep(artifact: Any) -> None:
    """Write the artifact's metadata to its file too: kfp's local cache takes an artifact without a file for a lost one."""
    from cavmae.storage import write_json

    write_json(Path(artifact.path), artifact.metadata)
