"""The pretraining objective: masked reconstruction of both modalities, and contrast between them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipSet
from cavmae.dataset.read_ahead import Done
from cavmae.evaluation.inference import slices
from cavmae.features.augment import Augmentation
from cavmae.features.front_end import FrontEnd
from cavmae.models.batch_share import BatchShare
from cavmae.models.cavmae import CAVMAE
from cavmae.models.flops import FORWARD_AND_BACKWARD, pretraining_macs
from cavmae.models.folder import ModelConfig
from cavmae.models.pretraining_pass import (
    ClipResults,
    PretrainInputs,
    PretrainLosses,
    PretrainSettings,
    clip_results,
    mae_losses,
    pretraining_losses,
    total,
)
from cavmae.training.batches import BatchBuilder, MaskSettings, ModelInputs, TrainBatch, model_inputs
from cavmae.training.cached_contrast import CachedContrast
from cavmae.training.distributed import current_world
from cavmae.training.engine import mean_over
from cavmae.training.micro_batches import pieces
from cavmae.training.params import PretrainParams
from cavmae.training.train_clips import TrainClips

_METERS = {"mae_a": "loss_mae_a", "mae_v": "loss_mae_v", "contrast": "loss_c", "contrast_accuracy": "c_acc"}


class Pretraining:
    """Objective over all clips of the train split; labels are not looked at."""

    def __init__(self, model: CAVMAE, config: ModelConfig, data: ClipSet, params: PretrainParams) -> None:
        self.model, self.params = model, params
        model.official_ties, model.chain_contrast = params.official_ties, params.chain_contrast
        self.front_end = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)
        masks = MaskSettings(model.grid_a, model.grid_v, params.mask_mode, params.mask_ratio_a, params.official_ties)

        def builder(split: str, augmentation: Augmentation, middle_frame: bool) -> BatchBuilder:
            return BatchBuilder(
                data.splits[split],
                config.fbank,
                config.architecture.img_size,
                params.seed,
                augmentation,
                masks=masks,
                middle_frame=middle_frame,
            )

        self.train = builder("train", Augmentation(0, 0, params.noise, params.roll), middle_frame=False)
        self.val = builder("val", Augmentation(0, 0, False, 0), middle_frame=True)
        data.split("train")
        self.source = TrainClips(self.train, params, self._inputs)
        self.settings = PretrainSettings(
            params.mask_ratio_a,
            params.mask_ratio_v,
            params.mae_loss_weight,
            params.contrast_loss_weight,
            params.bidirect_contrast,
            params.replicas,
        )

    @property
    def flops_per_clip(self) -> float:
        """Of the plain pass, as the paper has it; parts without weight left out."""
        params = self.params
        wanted = params.mae_loss_weight != 0, params.contrast_loss_weight != 0
        macs = pretraining_macs(self.model, params.mask_ratio_a, params.mask_ratio_v, *wanted)
        return float(FORWARD_AND_BACKWARD * sum(macs.values()))

    def order(self, epoch: int) -> np.ndarray:
        """A permutation of the clips."""
        return self.source.order(epoch)

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Done]:
        """Fetch ahead what the batches will need."""
        return self.source.reading(batches)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Batch with masks and augmentation drawn, and on a CPU with its inputs computed, beside the model's own work."""
        return self.source.build(indices, epoch)

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its parts."""
        if not batch.clips:
            return self._without_clips(batch, device)
        losses = pretraining_losses(self.model, self._given(batch, device), self.settings, batch.share)
        return losses.loss, _meters(losses, batch.share)

    def _without_clips(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The others' contrast asks every process for its embeddings, also for none."""
        zero = torch.zeros((), device=device)
        if batch.share is not None and self.params.contrast_loss_weight != 0:
            for _ in ("audio", "video"):
                batch.share.gather(torch.zeros(0, self.model.norm.normalized_shape[0], device=device))
        return zero, dict.fromkeys(_METERS, zero)

    def accumulate(
        self,
        batch: TrainBatch,
        device: torch.device,
        size: int,
        precision: Callable[[], AbstractContextManager[None]],
        backward: Callable[[Tensor], None],
    ) -> dict[str, Tensor]:
        """Pass the clips in pieces of `size`; the contrast is that of the whole batch, by cached gradients."""
        if not batch.clips:
            loss, meters = self._without_clips(batch, device)
            return {"loss": loss, **meters}
        share = batch.share or BatchShare.alone(len(batch.clips))
        contrast = CachedContrast(self.model, self.settings, share)
        if self.settings.contrast_loss_weight != 0:
            for _, piece in pieces(batch, size):
                with torch.no_grad(), precision():
                    contrast.add(clip_results(self.model, self._given(piece, device), self.settings, False, True))
            contrast.work_out()
        found = []
        for start, piece in pieces(batch, size):
            with precision():
                results = self._results(piece, device)
                own = torch.stack(mae_losses(results, self.settings, share, start))
            backward(self.settings.mae_loss_weight * own.sum() + contrast.surrogate(results, start))
            found.append(own.detach())
        mae = torch.stack(found).sum(dim=0)
        losses = total((mae[0], mae[1]), contrast.loss.to(device), contrast.accuracy.to(device), self.settings)
        return {"loss": losses.loss, **_meters(losses, batch.share)}

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """The same losses over the validation clips and their middle frames, under the masks of epoch 0 if they are fixed."""
        count, size = len(self.val.clips), self.params.batch_size
        count -= count % size if self.params.drop_last else 0
        batches, world = slices(count, size), current_world()
        names = ("loss", *_METERS)
        values = torch.zeros(len(batches), len(names), dtype=torch.float64)
        for number in world.dealt(len(batches)):
            batch = self.val.build(batches[number], epoch=0 if self.params.fixed_validation else epoch)
            losses = self._evaluated(batch, device)
            values[number] = torch.stack([getattr(losses, part).double() for part in ("loss", *_METERS.values())])
        rows = [dict(zip(names, row, strict=True)) for row in world.total(values).unbind()]
        return mean_over([(len(clips), row) for clips, row in zip(batches, rows, strict=True)])

    def _evaluated(self, batch: TrainBatch, device: torch.device) -> PretrainLosses:
        """The losses of a whole batch without gradients, in pieces where training goes in pieces."""
        size, share = self.params.micro_batch or len(batch.clips), BatchShare.alone(len(batch.clips))
        contrast, found = CachedContrast(self.model, self.settings, share), []
        for start, piece in pieces(batch, size):
            results = self._results(piece, device)
            contrast.add(results)
            found.append(torch.stack(mae_losses(results, self.settings, share, start)))
        contrast.work_out(with_gradients=False)
        mae = torch.stack(found).sum(dim=0)
        return total((mae[0], mae[1]), contrast.loss.to(device), contrast.accuracy.to(device), self.settings)

    def _results(self, batch: TrainBatch, device: torch.device) -> ClipResults:
        settings = self.settings
        wanted = settings.mae_loss_weight != 0, settings.contrast_loss_weight != 0
        return clip_results(self.model, self._given(batch, device), settings, *wanted)

    def _given(self, batch: TrainBatch, device: torch.device) -> PretrainInputs:
        inputs = batch.inputs or self._inputs(batch, device)
        assert inputs.audio is not None and inputs.images is not None
        assert batch.noise_a is not None and batch.noise_v is not None
        noise = (noise.to(device, non_blocking=True) for noise in (batch.noise_a, batch.noise_v))
        return PretrainInputs(inputs.audio, inputs.images, *noise)

    def _inputs(self, batch: TrainBatch, device: torch.device) -> ModelInputs:
        return model_inputs(self.front_end, batch, device, audio=True, images=True)


def _meters(losses: PretrainLosses, share: BatchShare | None) -> dict[str, Tensor]:
    """This process's part of the figures of a batch."""
    meters = {name: getattr(losses, part).detach() for name, part in _METERS.items()}
    if share is None:
        return meters
    # every process worked out the contrast of the whole batch
    whole = {name: share.weight * meters[name] for name in ("contrast", "contrast_accuracy")}
    return {"loss": losses.loss_mae.detach() + whole["contrast"], **meters, **whole}
