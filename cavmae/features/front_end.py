"""From what a shard holds to what the model takes: int16 waveforms and uint8 frames to normalised tensors, in batches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cavmae.features.augment import Draws, add_noise_and_roll, mask_spectrogram
from cavmae.features.fbank import FbankSettings, fbank, to_float
from cavmae.features.images import normalise_images
from cavmae.features.mixup import mix_images, mix_waveforms


@dataclass(frozen=True)
class RawBatch:
    """Clips as they come from the shards: waveforms int16 [B, S] with `lengths` [B] valid samples, frames uint8 [B, H, W, 3]."""

    waveform: Tensor
    lengths: Tensor
    frames: Tensor

    @classmethod
    def collate(cls, waveforms: list[np.ndarray], frames: list[np.ndarray], settings: FbankSettings) -> "RawBatch":
        """Put clips together; every waveform is cut or zero-padded to the samples that reach the spectrogram."""
        # the width does not depend on the batch: equal clips then give equal numbers whatever stands beside them
        waveform = np.zeros((len(waveforms), settings.max_samples), dtype=np.int16)
        lengths = np.array([min(len(wave), settings.max_samples) for wave in waveforms], dtype=np.int64)
        for row, (wave, length) in enumerate(zip(waveforms, lengths, strict=True)):
            waveform[row, :length] = wave[:length]
        return cls(torch.from_numpy(waveform), torch.from_numpy(lengths), torch.from_numpy(np.stack(frames)))

    def row(self, number: int) -> "RawBatch":
        """One clip, as a batch."""
        rows = slice(number, number + 1)
        return RawBatch(self.waveform[rows], self.lengths[rows], self.frames[rows])

    def to(self, device: torch.device) -> "RawBatch":
        """Move to a device."""
        return RawBatch(*(tensor.to(device, non_blocking=True) for tensor in (self.waveform, self.lengths, self.frames)))


@dataclass(frozen=True)
class FrontEnd:
    """Computes the model's inputs; `mean` and `std` are the data set's log-mel statistics."""

    settings: FbankSettings
    mean: float
    std: float

    def audio(
        self,
        batch: RawBatch,
        draws: Draws | None = None,
        partner: RawBatch | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Log-mel [B, T, M], augmented as drawn, mixed with `partner` by `weight` [B], normalised."""
        if batch.waveform.device.type != "cpu":
            return self._audio(batch, draws, partner, weight)
        # one clip at a time: what lies between its samples and its spectrogram then stays in the cache
        audio = torch.empty(len(batch.waveform), self.settings.target_length, self.settings.num_mel_bins)
        for row in range(len(audio)):
            audio[row] = self._audio(
                batch.row(row),
                None if draws is None else draws.row(row),
                None if partner is None else partner.row(row),
                None if weight is None else weight[row : row + 1],
            )[0]
        return audio

    def _audio(self, batch: RawBatch, draws: Draws | None, partner: RawBatch | None, weight: Tensor | None) -> Tensor:
        samples = to_float(batch.waveform, batch.lengths)
        if partner is not None and weight is not None:
            samples = mix_waveforms(samples, to_float(partner.waveform, partner.lengths), batch.lengths, weight)
        mel = fbank(samples, batch.lengths, self.settings)
        if draws is not None:
            mel = mask_spectrogram(mel, draws)
        mel = mel.sub_(self.mean).div_(self.std)
        return mel if draws is None else add_noise_and_roll(mel, draws)

    def images(self, batch: RawBatch, partner: RawBatch | None = None, weight: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, H, W], normalised, mixed with `partner` by `weight` [B]."""
        images = normalise_images(batch.frames)
        if partner is not None and weight is not None:
            images = mix_images(images, normalise_images(partner.frames), weight)
        return images
