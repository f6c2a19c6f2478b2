"""Is a candidate better than the champion? Both are measured on the same clips, and a paired bootstrap tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cavmae.dataset.loader import ClipRecord, ClipSet
from cavmae.errors import InputError
from cavmae.evaluation.bootstrap import paired_difference
from cavmae.evaluation.inference import predict_clips
from cavmae.evaluation.params import CompareParams
from cavmae.evaluation.summary import summarise
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.files import CONFIG, WEIGHTS, model_fingerprint
from cavmae.models.folder import ModelConfig, check_sample_rate, read_model

Difference = dict[str, float]  # candidate minus champion: difference, low, high


@dataclass
class Contender:
    """One of the two models: its files, its figures, and the scores [N, C] behind them in the order of the data's labels."""

    config: ModelConfig
    files: dict[str, str]
    scores: np.ndarray
    unknown: list[str]  # labels of the data that the model does not know
    ignored: list[str]  # labels of the model that the data do not have
    figures: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """What a decision says of it."""
        return {
            "sha256": self.files[WEIGHTS],
            "config_sha256": self.files[CONFIG],
            "mode": self.config.mode,
            "figures": self.figures,
        }


@dataclass
class Comparison:
    """Candidate and champion on the same clips; `differences` by metric, empty where there is no champion."""

    clips: list[ClipRecord]
    groups: int
    candidate: Contender
    champion: Contender | None
    differences: dict[str, Difference]
    promote: bool
    reason: str


def compare_models(data: ClipSet, candidate: Path, champion: Path | None, params: CompareParams) -> Comparison:
    """Measure both models anew on the labelled clips of a split, each in its own mode and over all frames, and decide.

    The data set decides which labels count: to one that a model does not know it gives probability 0, and one that the
    data do not have is ignored. Raises InputError for a candidate that knows none of the labels, for models and data that
    do not fit, and where the metric or its interval is not defined on these clips.
    """
    clips = [clip for clip in data.split(params.split) if clip.labels]
    if not clips:
        raise InputError(f"{data.folder}: split '{params.split}' holds no labelled clips to compare on")
    groups = np.array([clip.group for clip in clips])
    count = len(np.unique(groups))
    if count < 2:
        raise InputError(
            f"{data.folder}: the labelled clips of split '{params.split}' are all of one group, which no bootstrap can resample; "
            "add clips of other sources"
        )
    first = _run(data, clips, candidate, params)
    if len(first.unknown) == len(data.labels):
        raise InputError(f"{candidate}: knows none of the labels of {data.folder}; fine-tune on this data first")
    second = None if champion is None else _run(data, clips, champion, params)
    single_label = _single_label(first, second, clips)
    targets = data.targets(clips)
    how = (params.replicates, params.seed, params.confidence, groups)
    for contender in (first, second):
        if contender is not None:
            contender.figures = summarise(targets, contender.scores, single_label, *how)
    if second is None:
        return Comparison(clips, count, first, None, {}, True, "there is no champion yet")
    differences = paired_difference(targets, first.scores, second.scores, single_label, *how)
    if params.metric not in differences:
        raise InputError(f"{data.folder}: {params.metric} is not defined on split '{params.split}'; set another metric")
    if first.files == second.files:
        verdict, reason = False, "the candidate is the champion already: their weights are equal"
    else:
        verdict, reason = decide(differences[params.metric], params)
    return Comparison(clips, count, first, second, differences, verdict, reason)


def decide(found: Difference, params: CompareParams) -> tuple[bool, str]:
    """Return whether `found`, candidate minus champion, is enough under the rule, and why, in a sentence.

    `interval`: the lower end is above the margin. `point`: the difference itself is. `not_worse`: the lower end is above
    minus the margin (non-inferiority, for a candidate that is wanted for another reason, say newer labels).
    """
    margin = params.margin
    bound = -margin if params.rule == "not_worse" else margin
    measured = found["difference"] if params.rule == "point" else found["low"]
    promote = measured > bound
    what = "this" if params.rule == "point" else "its lower end"
    limit = f"{'minus ' if bound < 0 else ''}the margin of {margin:g}"
    return promote, (
        f"{params.metric} of the candidate minus that of the champion is {found['difference']:+.4f} "
        f"({100 * params.confidence:g} % interval {found['low']:+.4f} to {found['high']:+.4f}); "
        f"{what} is {'' if promote else 'not '}above {limit}"
    )


def _run(data: ClipSet, clips: list[ClipRecord], folder: Path, params: CompareParams) -> Contender:
    files = model_fingerprint(folder)
    config, model = read_model(folder)
    if not isinstance(model, CAVMAEFT) or config.mode is None:
        raise InputError(f"{folder}: is no classifier; give a fine-tuned model")
    check_sample_rate(config, data.settings, folder, data.folder)
    device = torch.device(params.device)
    found = predict_clips(model.to(device), config, clips, config.mode, "all", params.batch_size, device, params.precision)
    column = {label.mid: place for place, label in enumerate(config.labels or ())}
    wanted = [label.mid for label in data.labels]
    scores = np.zeros((len(clips), len(wanted)), dtype=found.dtype)
    for place, mid in enumerate(wanted):
        if mid in column:
            scores[:, place] = found[:, column[mid]]
    unknown, ignored = [mid for mid in wanted if mid not in column], [mid for mid in column if mid not in wanted]
    return Contender(config, files, scores, unknown, ignored, {})


def _single_label(first: Contender, second: Contender | None, clips: list[ClipRecord]) -> bool:
    """Both are counted alike; where one was trained for one label a clip and the other for several, the clips decide."""
    if second is None or first.config.single_label == second.config.single_label:
        return bool(first.config.single_label)
    return all(len(clip.labels) == 1 for clip in clips)
