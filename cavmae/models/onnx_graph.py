"""What an ONNX graph of a model computes: its inputs, its outputs, and the module that is traced."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cavmae.errors import InputError
from cavmae.features.front_end import FrontEnd, RawBatch
from cavmae.features.images import normalise_images
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, MODES, Mode
from cavmae.models.folder import ModelConfig
from cavmae.models.onnx_front_end import ConvolutionalFrontEnd

Features = Literal["inside", "outside"]
BATCH, SAMPLES = "batch", "samples"  # names of the dimensions that a caller chooses


@dataclass(frozen=True)
class Port:
    """An input or output: its name, element type, shape with names for what is open, and what it holds."""

    name: str
    type: str
    shape: tuple[int | str, ...]
    holds: str


def allowed_modes(config: ModelConfig) -> tuple[Mode, ...]:
    """Modes that a model can be exported in, the one that it was made for first."""
    if config.kind == "pretrained":
        return ("multimodal", "audioonly", "videoonly")
    if config.mode is None:
        return MODES
    if config.mode == "multimodal":
        return ("multimodal", "missingaudioonly", "missingvideoonly")
    return (config.mode,)


def choose_mode(config: ModelConfig, asked: Mode | None) -> Mode:
    """Return the mode asked for, else that of the model; raises InputError where the model was not made for it."""
    allowed = allowed_modes(config)
    if asked is None:
        return allowed[0]
    if asked not in allowed:
        raise InputError(f"mode is '{asked}', which this model was not trained for; it can be {', '.join(allowed)}")
    return asked


class Outputs(nn.Module):
    """From features to what the graph gives: `scores` and `logits` of a classifier, else `audio` and `video` vectors."""

    def __init__(self, network: CAVMAE | CAVMAEFT, config: ModelConfig, mode: Mode) -> None:
        super().__init__()
        self.network, self.mode, self.single_label = network, mode, bool(config.single_label)
        self.hears, self.sees = "video" not in mode, "audio" not in mode

    def forward(self, log_mel: Tensor | None = None, images: Tensor | None = None) -> tuple[Tensor, ...]:
        """Normalised log-mel [B, T, M] and pictures [B, 3, H, W] -> [B, C] each, or [B, D] each."""
        network = self.network
        if isinstance(network, CAVMAEFT):
            logits = network(log_mel, images, self.mode)
            return (logits.softmax(dim=-1) if self.single_label else logits.sigmoid()), logits
        pooled = []  # as retrieval compares them: the mean token of each unmasked single-modality pass
        if log_mel is not None:
            pooled.append(network.shared(network.stream_a(network.embed_a(log_mel)), "a").mean(dim=1))
        if images is not None:
            pooled.append(network.shared(network.stream_v(network.embed_v(images)), "v").mean(dim=1))
        return tuple(pooled)

    def ports(self, config: ModelConfig) -> list[Port]:
        """The outputs, in order."""
        if isinstance(self.network, CAVMAEFT):
            labels = len(config.labels or ())
            kind = "softmax" if self.single_label else "sigmoid"
            return [
                Port("scores", "float32", (BATCH, labels), f"probabilities ({kind} of the logits), in order of the labels"),
                Port("logits", "float32", (BATCH, labels), "what the probabilities are computed from"),
            ]
        width = config.architecture.embed_dim
        holds = "mean token of the {} pass, not normalised: compare by cosine"
        wanted = (("audio", self.hears), ("video", self.sees))
        return [Port(name, "float32", (BATCH, width), holds.format(name)) for name, there in wanted if there]


class WithFeatures(nn.Module):
    """The front end before the outputs."""

    def __init__(self, outputs: Outputs, config: ModelConfig) -> None:
        super().__init__()
        self.outputs = outputs
        self.front_end = ConvolutionalFrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std)

    def forward(
        self, waveform: Tensor | None = None, lengths: Tensor | None = None, frames: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """int16 [B, S] with `lengths` [B] valid samples and uint8 [B, H, W, 3] -> what `Outputs` gives."""
        log_mel = self.front_end(waveform, lengths) if waveform is not None else None
        images = normalise_images(frames) if frames is not None else None
        result: tuple[Tensor, ...] = self.outputs(log_mel, images)
        return result


class Graph:
    """A model in one mode, with or without its front end, ready to be traced and to be compared with what was traced."""

    def __init__(self, network: CAVMAE | CAVMAEFT, config: ModelConfig, mode: Mode, features: Features) -> None:
        self.config, self.mode, self.features = config, mode, features
        self.reference = Outputs(network.eval(), config, mode)
        self.module: nn.Module = WithFeatures(self.reference, config) if features == "inside" else self.reference
        self.outputs = self.reference.ports(config)
        self.inputs = [port for port in self._ports() if self._wanted(port.name)]

    def _ports(self) -> list[Port]:
        sizes, rate = self.config.architecture, self.config.clip.sample_rate
        side = sizes.img_size
        if self.features == "inside":
            return [
                Port(
                    "waveform",
                    "int16",
                    (BATCH, SAMPLES),
                    f"mono sound at {rate} Hz; whatever stands behind its length is ignored",
                ),
                Port("lengths", "int64", (BATCH,), "valid samples of each clip"),
                Port("frames", "uint8", (BATCH, side, side, 3), "one RGB picture a clip, rows from the top"),
            ]
        return [
            Port("log_mel", "float32", (BATCH, sizes.audio_length, sizes.num_mel_bins), "normalised log-mel spectrogram"),
            Port("images", "float32", (BATCH, 3, side, side), "one RGB picture a clip in 0 to 1, normalised by channel"),
        ]

    def _wanted(self, name: str) -> bool:
        return self.reference.sees if name in ("frames", "images") else self.reference.hears

    def feed(self, raw: RawBatch) -> dict[str, Tensor]:
        """The graph's inputs, by name, for a batch of clips."""
        if self.features == "inside":
            given = {"waveform": raw.waveform, "lengths": raw.lengths, "frames": raw.frames}
        else:
            given = dict(zip(("log_mel", "images"), self._features(raw), strict=True))
        return {port.name: given[port.name] for port in self.inputs}

    @torch.no_grad()
    def expected(self, raw: RawBatch) -> tuple[Tensor, ...]:
        """The outputs for a batch of clips as everything else in the project computes them, by another front end."""
        log_mel, images = self._features(raw)
        result: tuple[Tensor, ...] = self.reference(
            log_mel if self.reference.hears else None, images if self.reference.sees else None
        )
        return result

    def _features(self, raw: RawBatch) -> tuple[Tensor, Tensor]:
        normalisation = self.config.normalisation
        front_end = FrontEnd(self.config.fbank, normalisation.mean, normalisation.std)
        return front_end.audio(raw), front_end.images(raw)
