"""The pretraining objective: masked reconstruction of both modalities, and contrast between them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cavmae.dataset.loader import ClipSet, epoch_order
from cavmae.evaluation.inference import slices
from cavmae.features.augment import Augmentation
from cavmae.features.front_end import FrontEnd
from cavmae.models.cavmae import CAVMAE, PretrainOutput
from cavmae.models.folder import ModelConfig
from cavmae.training.batches import BatchBuilder, MaskSettings, ModelInputs, TrainBatch, model_inputs
from cavmae.training.distributed import current_world
from cavmae.training.engine import mean_over
from cavmae.training.params import PretrainParams

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

    def order(self, epoch: int) -> np.ndarray:
        """A permutation of the clips."""
        return epoch_order(len(self.train.clips), self.params.seed, epoch)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """Batch with masks and augmentation drawn, and on a CPU with its inputs computed, beside the model's own work."""
        batch = self.train.build(indices, epoch)
        if not batch.clips or self.params.device != "cpu":
            return batch
        return replace(batch, inputs=self._inputs(batch, torch.device("cpu")))

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its parts."""
        if not batch.clips:
            return self._without_clips(batch, device)
        output = self._forward(batch, device)
        meters = {name: getattr(output, part).detach() for name, part in _METERS.items()}
        if batch.share is None:
            return output.loss, meters
        # every process worked out the contrast of the whole batch
        weight = batch.share.weight
        whole = {name: weight * meters[name] for name in ("contrast", "contrast_accuracy")}
        return output.loss, {"loss": output.loss_mae.detach() + whole["contrast"], **meters, **whole}

    def _without_clips(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The others' contrast asks every process for its embeddings, also for none."""
        zero = torch.zeros((), device=device)
        if batch.share is not None and self.params.contrast_loss_weight != 0:
            for _ in ("audio", "video"):
                batch.share.gather(torch.zeros(0, self.model.norm.normalized_shape[0], device=device))
        return zero, dict.fromkeys(_METERS, zero)

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """The same losses over the validation clips and their middle frames, under the masks of epoch 0 if they are fixed."""
        count, size = len(self.val.clips), self.params.batch_size
        count -= count % size if self.params.drop_last else 0
        batches, world = slices(count, size), current_world()
        names = ("loss", *_METERS)
        values = torch.zeros(len(batches), len(names), dtype=torch.float64)
        for number in world.dealt(len(batches)):
            batch = self.val.build(batches[number], epoch=0 if self.params.fixed_validation else epoch)
            output = self._forward(batch, device)
            values[number] = torch.stack([getattr(output, part).double() for part in ("loss", *_METERS.values())])
        rows = [dict(zip(names, row, strict=True)) for row in world.total(values).unbind()]
        return mean_over([(len(clips), row) for clips, row in zip(batches, rows, strict=True)])

    def _forward(self, batch: TrainBatch, device: torch.device) -> PretrainOutput:
        params, inputs = self.params, batch.inputs or self._inputs(batch, device)
        assert batch.noise_a is not None and batch.noise_v is not None
        output: PretrainOutput = self.model(
            inputs.audio,
            inputs.images,
            params.mask_ratio_a,
            params.mask_ratio_v,
            params.mae_loss_weight,
            params.contrast_loss_weight,
            bidirect_contrast=params.bidirect_contrast,
            replicas=params.replicas,
            noise_a=batch.noise_a.to(device),
            noise_v=batch.noise_v.to(device),
            share=batch.share,
        )
        return output

    def _inputs(self, batch: TrainBatch, device: torch.device) -> ModelInputs:
        return model_inputs(self.front_end, batch, device, audio=True, images=True)
