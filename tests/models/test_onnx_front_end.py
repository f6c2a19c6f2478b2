"""The front end of exported graphs against the one that models are trained with, which another test holds against Kaldi."""

import pytest
import torch

from cavmae.features.fbank import FLOOR, FbankSettings
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.models.onnx_front_end import ConvolutionalFrontEnd, frame_kernels
from tests.models.exported import clips, config

MEAN, STD = -5.0, 4.0


def both(settings: FbankSettings, raw: RawBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mel [B, T, M] by convolution and by Fourier transform, not normalised."""
    with torch.no_grad():
        got = ConvolutionalFrontEnd(settings, MEAN, STD)(raw.waveform, raw.lengths)
    return got * STD + MEAN, FrontEnd(settings, MEAN, STD).audio(raw) * STD + MEAN


@pytest.mark.parametrize(("rate", "bins"), [(16000, 128), (22050, 64), (8000, 32)])
def test_clips_of_all_lengths_give_the_log_mel_that_models_are_trained_on(rate: int, bins: int) -> None:
    settings = FbankSettings(rate, bins, 100)
    lengths = [settings.max_samples + 900, settings.max_samples, 30 * settings.shift + 7, settings.window, settings.window - 1, 0]
    shape = config().model_copy(update={"clip": config().clip.model_copy(update={"sample_rate": rate})})
    shape = shape.model_copy(
        update={"architecture": shape.architecture.model_copy(update={"audio_length": 100, "num_mel_bins": bins})}
    )
    got, want = both(settings, clips(shape, lengths))
    assert got.shape == want.shape == (6, 100, bins)
    # float32 products in another order: 1e-4 of a logarithm where there is energy; near the floor the same rounding weighs
    # more, as it does between two Fourier transforms, for which 2e-3 stands in the test of the filter bank
    torch.testing.assert_close(got, want, atol=2e-3, rtol=0)
    loud = want > torch.tensor(FLOOR).log() + 6
    assert loud.float().mean() > 0.1
    torch.testing.assert_close(got[loud], want[loud], atol=1e-4, rtol=0)
    assert torch.equal(got == 0, want == 0)  # the rows of padding are the same


def test_neither_a_wider_nor_a_narrower_batch_changes_a_clip() -> None:
    shape = config()
    raw = clips(shape, [3000, 500])
    front_end = ConvolutionalFrontEnd(shape.fbank, MEAN, STD)
    want = front_end(raw.waveform, raw.lengths)
    rubbish = torch.full((2, 20_000), 1234, dtype=torch.int16)
    wide = torch.cat([raw.waveform, rubbish], dim=1)
    wide[0, 3000:], wide[1, 500:] = 77, -77  # behind the clips: to be ignored
    torch.testing.assert_close(front_end(wide, raw.lengths), want, atol=0, rtol=0)
    torch.testing.assert_close(front_end(raw.waveform[:, :3000], raw.lengths), want, atol=0, rtol=0)
    # a length beyond the samples given counts no more than these; a batch of one may be summed in another order
    torch.testing.assert_close(front_end(raw.waveform[:1, :3000], torch.tensor([9000])), want[:1], atol=1e-5, rtol=0)


def test_kernels_are_blind_to_a_constant_and_see_a_tone_in_its_bin() -> None:
    settings = FbankSettings(16000, 32, 64)
    kernels = frame_kernels(settings)
    assert kernels.shape == (2 * 257, 400)
    assert (kernels @ torch.ones(400, dtype=torch.float64)).abs().max() < 1e-12
    tone = torch.sin(2 * torch.pi * 40 / 512 * torch.arange(400, dtype=torch.float64))
    real, imaginary = (kernels @ tone).chunk(2)
    assert int((real**2 + imaginary**2).argmax()) == 40
