"""Step `predict`: labels for video files that the model has never seen."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cavmae.errors import InputError
from cavmae.evaluation.params import PredictParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.evaluation.prediction import FramePrediction, Prediction, Scores

log = logging.getLogger(__name__)


def predict(videos: Sequence[Path], model: Path, params: PredictParams) -> "list[Prediction]":
    """Score video files with a model folder; the window slides over files that are longer than the model's clips.

    A file that cannot be used gives a prediction with its reason. Raises InputError where the folder holds no classifier, where
    none of the files can be used, or where scores of frames are asked of a model that sees none.
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
    if params.per_frame and config.mode in ("audioonly", "missingaudioonly"):
        raise InputError(f"{model}: hears the sound alone and has no scores of frames; set per_frame=false")
    device = torch.device(params.device)
    network.to(device).eval()
    predictions = []
    for video in videos:
        found = predict_file(network, config, video, params.hop_s, params.top, device, params.per_frame, params.precision)
        predictions += list(found)
    failed = [prediction for prediction in predictions if prediction.error]
    useless = len(failed) == len(predictions)
    for prediction in failed[1:] if useless else failed:  # where nothing can be used, the first complaint is the error
        where = f", from {prediction.start_s:g} s" if prediction.start_s else ""
        log.warning("predict: %s%s: cannot be used (%s)", prediction.path, where, prediction.error)
    if useless:
        raise InputError(f"{failed[0].path}: cannot be used ({failed[0].error})")
    return predictions


def as_text(predictions: "list[Prediction]", params: PredictParams) -> str:
    """Predictions as an aligned table, or as JSON lines; those of frames stand below that of their window, or within it."""
    if params.format == "jsonl":
        return "\n".join(json.dumps(_as_object(item), ensure_ascii=False) for item in predictions)
    lines = []
    for item in predictions:
        if not item.error:
            window = f"{item.start_s:6.1f}-{item.end_s:.1f} s"
            without = f"  (no {item.missing})" if item.missing else ""
            lines.append(_line(item.path, window, item.scores) + without)
            lines += [_line(item.path, _when(frame).ljust(len(window)), frame.scores) for frame in item.frames]
    return "\n".join(lines)


def _as_object(item: "Prediction") -> dict[str, Any]:
    if item.error:
        return {"path": item.path, "start_s": item.start_s, "error": item.error}
    found: dict[str, Any] = {"path": item.path, "start_s": item.start_s, "end_s": item.end_s, "scores": dict(item.scores)}
    if item.missing:
        found["missing"] = item.missing
    if item.frames:
        found["frames"] = [{"frame": one.frame, "time_s": one.time_s, "scores": dict(one.scores)} for one in item.frames]
    return found


def _line(path: str, when: str, scores: "Scores") -> str:
    return f"{path}  {when}  " + "  ".join(f"{name} {score:.3f}" for name, score in scores)


def _when(frame: "FramePrediction") -> str:
    return f"  frame {frame.frame}" if frame.time_s is None else f"{frame.time_s:8.2f} s"


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
