"""Step `evaluate`: figures with confidence intervals, plots and a report."""

import logging
from pathlib import Path

from cavmae.errors import InputError
from cavmae.evaluation.params import EvaluateParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def evaluate(
    dataset: Path,
    model: Path | None,
    audio_model: Path | None,
    video_model: Path | None,
    pretrained: Path | None,
    curves: Path | None,
    metrics: Path,
    plots: Path,
    report: Path,
    params: EvaluateParams,
) -> None:
    """Measure classifiers and retrieval on one split; write metrics, plots, every clip's scores, and report.html.

    Raises InputError where no model is given, or a model's labels are not those of the data.
    """
    from cavmae.dataset.loader import ClipSet
    from cavmae.evaluation.evaluator import evaluate_models
    from cavmae.evaluation.presentation import PLOTS, metrics_document, present, write_plots
    from cavmae.models.files import WEIGHTS, model_fingerprint
    from cavmae.outputs import check_replaceable
    from cavmae.storage import write_json
    from cavmae.training.curves import read_curves
    from cavmae.training.runs import prepare_torch

    classifiers = [path for path in (model, audio_model, video_model) if path is not None]
    models = [path for path in (*classifiers, pretrained) if path is not None]
    if not models:
        raise InputError("evaluate: give a model: --model, --audio-model, --video-model or --pretrained")
    check_replaceable(plots, (dataset, *models), PLOTS, "--plots")
    prepare_torch(params.device, params.threads, params.seed)
    data = ClipSet(dataset)
    evaluation = evaluate_models(data, classifiers, pretrained, params)
    write_plots(plots, evaluation, data)
    learning = {path.stem: read_curves(path) for path in sorted(curves.glob("*.tsv"))} if curves else {}
    hashes = {str(path): model_fingerprint(path)[WEIGHTS] for path in models}
    present(report, evaluation, data, params, learning, hashes)
    write_json(metrics, metrics_document(evaluation, params))
    log.info("evaluate: %d models on %d %s clips -> %s and %s", len(models), len(evaluation.clips), params.split, metrics, report)


STEP = Step(
    function=evaluate,
    params=EvaluateParams,
    inputs=(
        Artifact("dataset", "data/validated", "validated data set"),
        Artifact("model", "models/averaged/multimodal", "classifier of both modalities", optional=True),
        Artifact("audio_model", "models/averaged/audioonly", "classifier of sound", optional=True),
        Artifact("video_model", "models/averaged/videoonly", "classifier of pictures", optional=True),
        Artifact("pretrained", "models/pretrained", "pretrained model, for retrieval", optional=True),
        Artifact("curves", "metrics/curves", "folder of learning curves, for the report", optional=True),
    ),
    outputs=(
        Artifact("metrics", "metrics/evaluation.json", "figures for machines"),
        Artifact("plots", "metrics/plots", "folder of what dvc compares (plots, summary), and of every clip's scores"),
        Artifact("report", "reports/report.html", "the report for people"),
    ),
    image="train",
    cpu=4,
    memory_gb=16,
    gpu=1,
)
