"""Step `predict`: labels for video files that the model has never seen."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.errors import InputError
from cavmae.evaluation.params import PredictParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.evaluation.prediction import Prediction

log = logging.getLogger(__name__)


def predict(videos: Sequence[Path], model: Path, params: PredictParams) -> "list[Prediction]":
    """Score video files with a model folder; the window slides over files that are longer than the model's clips.

    A file that cannot be used gives a prediction with its reason. Raises InputError where the folder holds no classifier, or
    where none of the files can be used.
    """
    import torch

    from cavmae.evaluation.prediction import predict_file
    from cavmae.models.cavmaeft import CAVMAEFT
    from cavmae.models.folder import read_model
    from cavmae.training.runs import prepare_torch

    missing = [video for video in videos if not video.exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file")
    prepare_torch(params.device, params.threads, seed=0)
    config, network = read_model(model)
    if not isinstance(network, CAVMAEFT):
        raise InputError(f"{model}: is no classifier; give a fine-tuned model")
    device = torch.device(params.device)
    network.to(device).eval()
    predictions = []
    for video in videos:
        predictions += list(predict_file(network, config, video, params.hop_s, params.top, device))
    failed = [prediction for prediction in predictions if prediction.error]
    for prediction in failed:
        log.warning("predict: %s: %s", prediction.path, prediction.error)
    if len(failed) == len(predictions):
        raise InputError(f"{failed[0].path}: cannot be used ({failed[0].error})")
    return predictions


def as_text(predictions: "list[Prediction]", params: PredictParams) -> str:
    """Predictions as an aligned table, or as JSON lines."""
    if params.format == "jsonl":
        return "\n".join(
            json.dumps(
                {"path": item.path, "error": item.error}
                if item.error
                else {"path": item.path, "start_s": item.start_s, "end_s": item.end_s, "scores": dict(item.scores)},
                ensure_ascii=False,
            )
            for item in predictions
        )
    lines = []
    for item in predictions:
        if not item.error:
            scores = "  ".join(f"{name} {score:.3f}" for name, score in item.scores)
            lines.append(f"{item.path}  {item.start_s:6.1f}-{item.end_s:.1f} s  {scores}")
    return "\n".join(lines)


STEP = Step(
    function=predict,
    params=PredictParams,
    inputs=(
        Artifact("videos", "VIDEO", "video files", positional=True, many=True),
        Artifact("model", "models/final", "model folder"),
    ),
    outputs=(),
    image="train",
    cpu=1,
    memory_gb=4,
    in_pipeline=False,
    present=as_text,
)
