"""Everything that `evaluate` measures: every model in every mode it can be used in, and retrieval."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cavmae.dataset.loader import ClipRecord, ClipSet
from cavmae.errors import InputError
from cavmae.evaluation.bootstrap import paired_difference
from cavmae.evaluation.inference import embed_clips, predict_modes
from cavmae.evaluation.params import EvaluateParams
from cavmae.evaluation.retrieval import retrieve
from cavmae.evaluation.summary import summarise
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.folder import ModelConfig, check_modalities, check_sample_rate, read_model

# The name under which a mode's figures stand. `missingaudioonly` is the original's word for "only audio is at hand".
_NAMES: dict[Mode, str] = {
    "multimodal": "multimodal",
    "audioonly": "audio",
    "videoonly": "video",
    "missingaudioonly": "multimodal_missing_video",
    "missingvideoonly": "multimodal_missing_audio",
}
_ALSO: dict[str, tuple[Mode, ...]] = {"multimodal": ("multimodal", "missingaudioonly", "missingvideoonly")}


@dataclass
class Evaluation:
    """What was measured: `metrics` as metrics/evaluation.json has it, and the scores [N, C] behind each model's figures."""

    clips: list[ClipRecord]
    targets: np.ndarray
    single_label: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)


def evaluate_models(data: ClipSet, classifiers: list[Path], pretrained: Path | None, params: EvaluateParams) -> Evaluation:
    """Measure classifiers on the labelled clips of a split, and retrieval on all of its clips.

    Raises InputError where a model's labels are not those of the data.
    """
    device = torch.device(params.device)
    labelled = [clip for clip in data.split(params.split) if clip.labels]
    evaluation = Evaluation(labelled, data.targets(labelled), single_label=True)
    for folder in classifiers:
        _measure(evaluation, data, folder, params, device)
    _compare(evaluation, params)
    if pretrained is not None:
        config, model = read_model(pretrained)
        check_modalities(config, pretrained, "retrieval")
        check_sample_rate(config, data.settings, pretrained, data.folder)
        clips = data.split(params.split)
        audio, video = embed_clips(model, config, clips, params.batch_size, device, precision=params.precision)
        groups = np.array([clip.group for clip in clips])
        evaluation.metrics["retrieval"] = retrieve(
            audio, video, replicates=params.replicates, seed=params.seed, level=params.confidence, groups=groups
        )
    if data.ceiling:
        evaluation.metrics["ceiling"] = data.ceiling
    return evaluation


def _measure(evaluation: Evaluation, data: ClipSet, folder: Path, params: EvaluateParams, device: torch.device) -> None:
    config, model = read_model(folder)
    if not isinstance(model, CAVMAEFT) or config.mode is None:
        raise InputError(f"{folder}: is no classifier; give a fine-tuned model")
    if not evaluation.clips:
        raise InputError(f"{data.folder}: split '{params.split}' holds no labelled clips to evaluate on")
    check_labels(config, data, folder)
    check_sample_rate(config, data.settings, folder, data.folder)
    if _NAMES[config.mode] in evaluation.scores:
        raise InputError(f"{folder}: is a second model of mode {config.mode}; give one of each")
    model.to(device)
    groups = np.array([clip.group for clip in evaluation.clips])
    evaluation.single_label = bool(config.single_label)
    modes = _ALSO.get(config.mode, (config.mode,))
    found = predict_modes(model, config, evaluation.clips, modes, "all", params.batch_size, device, params.precision)
    for mode in modes:
        name, scores, single = _NAMES[mode], found[mode].mean, found[mode].middle
        evaluation.scores[name] = scores
        evaluation.metrics[name] = summarise(
            evaluation.targets,
            scores,
            evaluation.single_label,
            params.replicates,
            params.seed,
            params.confidence,
            groups,
            single,
            params.official_metrics,
        )


def _compare(evaluation: Evaluation, params: EvaluateParams) -> None:
    """Paired differences between the model on both modalities and each single one, on the same clips."""
    if not params.replicates:
        return
    groups = np.array([clip.group for clip in evaluation.clips])
    for other in ("audio", "video"):
        if "multimodal" in evaluation.scores and other in evaluation.scores:
            difference = paired_difference(
                evaluation.targets,
                evaluation.scores["multimodal"],
                evaluation.scores[other],
                evaluation.single_label,
                params.replicates,
                params.seed,
                params.confidence,
                groups,
                params.official_metrics,
            )
            flat: dict[str, float] = {}
            for metric, values in difference.items():
                flat[metric] = values["difference"]
                flat[f"{metric}_low"], flat[f"{metric}_high"] = values["low"], values["high"]
            evaluation.metrics.setdefault("difference", {})[f"multimodal_minus_{other}"] = flat


def check_labels(config: ModelConfig, data: ClipSet, folder: Path) -> None:
    """Raise InputError where the model's outputs are not the data set's labels, in the same order."""
    known = [label.mid for label in config.labels or ()]
    wanted = [label.mid for label in data.labels]
    if known != wanted:
        odd = sorted(set(known) ^ set(wanted))
        what = f"'{odd[0]}' is only in one of them" if odd else "their order differs"
        raise InputError(
            f"{folder}: its labels are not those of {data.folder}: {what}; "
            "fine-tune on this data first, or leave the model out with `none`"
        )
