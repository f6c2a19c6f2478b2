"""The fine-tuning objective: labels from sound, picture or both."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cavmae.dataset.loader import ClipRecord, ClipSet, balance_weights
from cavmae.dataset.read_ahead import Done
from cavmae.errors import InputError
from cavmae.evaluation.inference import predict_clips, slices
from cavmae.evaluation.metrics import classification
from cavmae.features.augment import Augmentation
from cavmae.features.front_end import FrontEnd
from cavmae.features.mixup import smooth_and_mix
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.flops import FORWARD_AND_BACKWARD, classifier_macs
from cavmae.models.folder import ModelConfig
from cavmae.training.batches import BatchBuilder, ModelInputs, TrainBatch, model_inputs
from cavmae.training.distributed import current_world
from cavmae.training.micro_batches import pieces
from cavmae.training.params import FinetuneParams
from cavmae.training.train_clips import TrainClips


class Finetuning:
    """Objective over the labelled clips of the train split."""

    def __init__(self, model: CAVMAEFT, config: ModelConfig, data: ClipSet, params: FinetuneParams) -> None:
        self.model, self.config, self.params = model, config, params
        self.front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
        clips = labelled(data, "train")
        if params.label_fraction < 1:
            clips = stratified_share(clips, params.label_fraction, params.seed)
        self.train = BatchBuilder(
            clips,
            config.fbank,
            config.architecture.img_size,
            params.seed,
            Augmentation(params.freq_mask, params.time_mask, params.noise, params.roll),
            targets=data.targets(clips),
            mixup=params.mixup,
        )
        self.val_clips = [clip for clip in data.splits["val"] if clip.labels]
        if params.drop_last:
            self.val_clips = self.val_clips[: len(self.val_clips) // params.batch_size * params.batch_size]
        self.val_targets = data.targets(self.val_clips)
        self.mode = params.mode
        self.weights = balance_weights(clips) if params.balanced_sampling else None
        self.source = TrainClips(self.train, params, self._inputs, self.weights)
        if params.freeze_base:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith("mlp_head"))

    @property
    def flops_per_clip(self) -> float:
        """By the mode; with a frozen base there is no backward pass through it."""
        passes = 2 if self.params.freeze_base else FORWARD_AND_BACKWARD
        return float(passes * sum(classifier_macs(self.model, self.params.mode).values()))

    def order(self, epoch: int) -> np.ndarray:
        """A permutation of the clips, or balanced draws with replacement."""
        return self.source.order(epoch)

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Done]:
        """Fetch ahead what the batches will need."""
        return self.source.reading(batches)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Batch with frames, partners and augmentation drawn, and on a CPU with its inputs computed, beside the model's work."""
        return self.source.build(indices, epoch)

    def _inputs(self, batch: TrainBatch, device: torch.device) -> ModelInputs:
        return model_inputs(self.front_end, batch, device, audio="video" not in self.mode, images="audio" not in self.mode)

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, binary for several labels a clip, against smoothed and mixed targets."""
        if not batch.clips:
            return torch.zeros((), device=device), {}
        return self._mean(batch, device) * (batch.share.weight if batch.share else 1.0), {}

    def accumulate(
        self,
        batch: TrainBatch,
        device: torch.device,
        size: int,
        precision: Callable[[], AbstractContextManager[None]],
        backward: Callable[[Tensor], None],
    ) -> dict[str, Tensor]:
        """Pass the clips in pieces of `size`, each of which counts by its clips."""
        weight, sum_of_losses = batch.share.weight if batch.share else 1.0, torch.zeros((), device=device)
        for _, piece in pieces(batch, size):
            with precision():
                loss = self._mean(piece, device) * (weight * len(piece.clips) / len(batch.clips))
            backward(loss)
            sum_of_losses += loss.detach()
        return {"loss": sum_of_losses}

    def _mean(self, batch: TrainBatch, device: torch.device) -> Tensor:
        inputs = batch.inputs or self._inputs(batch, device)
        weight = batch.weight.to(device) if batch.weight is not None else None
        logits = self.model(inputs.audio, inputs.images, self.mode).float()
        assert batch.targets is not None
        targets = batch.targets.to(device)
        other = batch.partner_targets.to(device) if batch.partner_targets is not None else targets
        share = weight if weight is not None else torch.ones(len(targets), device=device)
        targets = smooth_and_mix(targets, other, share, self.params.label_smoothing, self.params.official_smoothing)
        loss = F.cross_entropy if self.config.single_label else F.binary_cross_entropy_with_logits
        mean: Tensor = loss(logits, targets)
        return mean

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """Loss, accuracy and mAP on the middle frame of the validation clips."""
        if not self.val_clips:
            return {}
        single = bool(self.config.single_label)
        scores = self._scores(device)
        figures = classification(self.val_targets, scores, single, self.params.official_metrics)
        clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
        target = self.val_targets
        cross = -(target * np.log(clipped)).sum(1) if single else -_binary(target, clipped).mean(1)
        return {"loss": float(cross.mean()), "accuracy": figures["accuracy"], "mAP": figures["mAP"]}

    def _scores(self, device: torch.device) -> np.ndarray:
        """Scores [N, C] of the validation clips; each process works out some batches, made up as one process alone does."""
        world, size = current_world(), self.params.batch_size
        batches = slices(len(self.val_clips), size)
        own = [index for number in world.dealt(len(batches)) for index in batches[number]]
        scores = np.zeros(self.val_targets.shape, dtype=np.float32)
        if own:
            clips = [self.val_clips[index] for index in own]
            scores[own] = predict_clips(self.model, self.config, clips, self.mode, "middle", size, device)
        found: np.ndarray = world.total(torch.from_numpy(scores)).numpy()
        return found


def labelled(data: ClipSet, split: str) -> list[ClipRecord]:
    """The clips of a split that have a label; raises InputError where there are none."""
    clips = [clip for clip in data.split(split) if clip.labels]
    if not clips:
        raise InputError(f"{data.folder}: split '{split}' holds no labelled clips; fine-tuning needs labels")
    return clips


def stratified_share(clips: list[ClipRecord], share: float, seed: int) -> list[ClipRecord]:
    """A seeded share of the clips, at least one of every first label, in their order."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    by_label: dict[int, list[int]] = {}
    for index, clip in enumerate(clips):
        by_label.setdefault(clip.labels[0], []).append(index)
    chosen = [
        index
        for _, members in sorted(by_label.items())
        for index in rng.permutation(members)[: max(1, round(len(members) * share))].tolist()
    ]
    return [clips[index] for index in sorted(chosen)]


def _binary(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    likelihood: np.ndarray = target * np.log(score) + (1 - target) * np.log(1 - score)
    return likelihood
