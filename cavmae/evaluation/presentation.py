"""From an evaluation to its files: metrics, plots, predictions of every clip, and the report."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cavmae.dataset.loader import ClipRecord, ClipSet
from cavmae.dataset.records import decode_waveform, frame_count
from cavmae.dataset.schema import QUARANTINE, read_rows, write_table
from cavmae.evaluation.curves import confusion_matrix, confusion_rows, curve_points, pooled_roc, write_rows
from cavmae.evaluation.document import summary_figures
from cavmae.evaluation.evaluator import Evaluation
from cavmae.evaluation.examples import Example, choose_examples, log_mel_to_see
from cavmae.evaluation.metrics import classification
from cavmae.evaluation.params import EvaluateParams
from cavmae.evaluation.report import Report, write_report
from cavmae.models.lineage import code_commit, dataset_fingerprint
from cavmae.outputs import Written
from cavmae.storage import replace_folder, write_json

PREDICTIONS = pa.schema(
    [
        ("video_id", pa.string()),
        ("path", pa.string()),
        ("model", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("predicted", pa.string()),
        ("scores", pa.list_(pa.float32())),  # in the order of labels.csv
    ]
)

_PLOTS = ("confusion.json", "pr.tsv", "roc.tsv", "roc_all.tsv", "summary.json", "predictions.parquet")
PLOTS = Written("evaluate", _PLOTS, lambda folder: True)


def write_plots(folder: Path, evaluation: Evaluation, data: ClipSet) -> None:
    """Write what DVC compares: summary.json, and of the first model confusion.json and the curves; and everyone's predictions.

    pr.tsv and roc.tsv have a curve for each class, roc_all.tsv the one over all pairs of clip and class.
    """
    labels = [label.display_name for label in data.labels]
    with replace_folder(folder) as partial:
        if summary := summary_figures(evaluation.metrics):
            write_json(partial / "summary.json", summary)
        for name, scores in list(evaluation.scores.items())[:1]:
            write_rows(partial / "confusion.json", confusion_rows(evaluation.targets, scores, labels))
            points = curve_points(evaluation.targets, scores, labels)
            write_rows(partial / "pr.tsv", [{"model": name, **row} for row in points["pr"]])
            write_rows(partial / "roc.tsv", [{"model": name, **row} for row in points["roc"]])
            write_rows(partial / "roc_all.tsv", [{"model": name, **row} for row in pooled_roc(evaluation.targets, scores)])
        rows = (
            {
                "video_id": clip.video_id,
                "path": clip.path,
                "model": name,
                "labels": [labels[index] for index in clip.labels],
                "predicted": labels[int(score.argmax())],
                "scores": score.tolist(),
            }
            for name, scores in evaluation.scores.items()
            for clip, score in zip(evaluation.clips, scores, strict=True)
        )
        write_table(partial / "predictions.parquet", rows, PREDICTIONS)


def present(
    path: Path,
    evaluation: Evaluation,
    data: ClipSet,
    params: EvaluateParams,
    learning: dict[str, list[dict[str, float]]],
    models: dict[str, str],
) -> None:
    """Write the report; `learning` are curves by run, `models` the hash of each model's weights by name."""
    labels = [label.display_name for label in data.labels]
    targets, scores = evaluation.targets, evaluation.scores
    first = next(iter(scores.values()), None)
    best, worst = choose_examples(targets, first, params.examples) if first is not None else ([], [])
    write_report(
        path,
        Report(
            title="Evaluation",
            metrics={params.split: evaluation.metrics},
            labels=labels,
            split=params.split,
            level=params.confidence,
            single_label=evaluation.single_label,
            per_class={
                name: classification(targets, score, evaluation.single_label)["per_class"] for name, score in scores.items()
            },
            confusion={name: confusion_matrix(targets, score) for name, score in scores.items()},
            curves={name: curve_points(targets, score, labels) for name, score in list(scores.items())[:1]},
            learning=learning,
            best=[_example(evaluation.clips[row], first[row], labels, data) for row in best if first is not None],
            worst=[_example(evaluation.clips[row], first[row], labels, data) for row in worst if first is not None],
            clips={name: len(clips) for name, clips in data.splits.items()},
            label_clips=_label_clips(data, labels),
            quarantine=list(read_rows(data.folder / "quarantine.parquet", QUARANTINE)),
            lineage=_lineage(data, models),
        ),
    )


def _example(clip: ClipRecord, scores: np.ndarray, labels: list[str], data: ClipSet) -> Example:
    members = clip.members()
    waveform = decode_waveform(members)
    rate = int(str(data.settings["sample_rate"]))
    log_mel, seconds = log_mel_to_see(waveform, rate)
    order = np.argsort(-scores)[:3]
    return Example(
        video_id=clip.video_id,
        true_labels=[labels[index] for index in clip.labels],
        predictions=[(labels[index], float(scores[index])) for index in order],
        frames=[members[f"{index}.jpg"] for index in range(frame_count(members))],
        log_mel=log_mel,
        seconds=seconds,
        waveform=waveform,
        sample_rate=rate,
    )


def _label_clips(data: ClipSet, labels: list[str]) -> dict[str, dict[str, int]]:
    counts = {split: Counter(label for clip in clips for label in clip.labels) for split, clips in data.splits.items()}
    return {name: {split: counts[split][index] for split in counts} for index, name in enumerate(labels)}


def _lineage(data: ClipSet, models: dict[str, str]) -> list[tuple[str, str]]:
    lines = [(f"model {name}", digest) for name, digest in models.items()]
    lines += [(f"data {name}", digest) for name, digest in dataset_fingerprint(data.folder).items()]
    return [*lines, ("code", code_commit())]


def metrics_document(evaluation: Evaluation, params: EvaluateParams) -> dict[str, Any]:
    """The content of metrics/evaluation.json; `confidence` is the level of its intervals, where it has any."""
    level = {"confidence": params.confidence} if params.replicates else {}
    return {params.split: level | evaluation.metrics}
