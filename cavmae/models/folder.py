"""The model folder: config.json, model.safetensors, lineage.json. Enough to use a model, and to know where it is from."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavmae.errors import InputError, StepFailed
from cavmae.features.fbank import FbankSettings
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, Mode
from cavmae.models.encoder import AudioVisualEncoder, Modalities
from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS
from cavmae.outputs import Written, check_replaceable, lineage_says
from cavmae.params import first_problem
from cavmae.storage import read_json, replace_folder, write_atomic, write_json

Size = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Frozen):
    """Constructor arguments that pretraining and fine-tuning share; a classifier need not know of a decoder."""

    img_size: Size
    audio_length: Size
    num_mel_bins: Size
    patch_size: Size
    audio_patch_size: Size
    embed_dim: Size
    depth: Size
    modality_specific_depth: Annotated[int, Field(ge=0)]
    num_heads: Size
    mlp_ratio: Annotated[float, Field(gt=0)]
    decoder_embed_dim: Size | None = None
    decoder_depth: Annotated[int, Field(ge=0)] | None = None
    decoder_num_heads: Size | None = None


class ClipShape(_Frozen):
    """How a video becomes an input: window in seconds, frames a clip, stored frame size, rate of the waveform."""

    window_s: float
    frames: int
    frame_size: int
    frame_index: Literal["exact", "official"]
    sample_rate: int


class Normalisation(_Frozen):
    """Mean and standard deviation of the log-mel of the clips that the first model of the line was trained on."""

    mean: float
    std: float


class LabelName(_Frozen):
    """One output of a classifier."""

    mid: str
    display_name: str


class ModelConfig(_Frozen):
    """All that is needed to use the weights; `modalities` is "a" for a classifier without visual parts."""

    format: Literal[1] = 1
    kind: Literal["pretrained", "classifier"]
    modalities: Modalities = "av"
    architecture: Architecture
    clip: ClipShape
    normalisation: Normalisation
    norm_pix_loss: bool | None = None
    mode: Mode | None = None
    single_label: bool | None = None
    labels: list[LabelName] | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        decoder = [key for key, value in self.architecture if key.startswith("decoder_") and value is None]
        if self.kind == "pretrained" and decoder:
            raise ValueError(f"a pretrained model needs architecture.{decoder[0]}")
        if self.modalities == "a" and (self.kind, self.mode) != ("classifier", "audioonly"):
            raise ValueError("a model without visual parts must be a classifier of mode audioonly")
        return self

    @property
    def fbank(self) -> FbankSettings:
        """Settings of the log-mel front end."""
        return FbankSettings(self.clip.sample_rate, self.architecture.num_mel_bins, self.architecture.audio_length)

    def build(self) -> CAVMAE | CAVMAEFT:
        """Return the model with first weights drawn from torch's generator; raises InputError for sizes that do not fit."""
        sizes = self.architecture.model_dump()
        decoder = {key: sizes.pop(key) for key in ("decoder_embed_dim", "decoder_depth", "decoder_num_heads")}
        try:
            if self.kind == "pretrained":
                return CAVMAE(**sizes, **decoder, norm_pix_loss=bool(self.norm_pix_loss))
            return CAVMAEFT(len(self.labels or ()), **sizes, modalities=self.modalities)
        except ValueError as error:
            raise InputError(f"the model cannot be built: {error}") from None


def check_model_place(
    folder: Path, step: str, inputs: Iterable[Path], more: Collection[str] = (), below: Collection[str] = ()
) -> None:
    """Raise InputError where the model of `step` cannot be written to `folder` without losing more than an earlier one.

    `more` and `below` are names of files, with wildcards, that the step writes beside the three, and in a folder below.
    """
    ours = Written(step, (CONFIG, WEIGHTS, LINEAGE, *more), lineage_says(step), below)
    check_replaceable(folder, inputs, ours, "--model")


def write_model(folder: Path, config: ModelConfig, state: dict[str, Tensor], lineage: dict[str, Any]) -> None:
    """Replace `folder` by a model folder, whole or not at all."""
    with replace_folder(folder) as partial:
        fill_model_folder(partial, config, state, lineage)


def fill_model_folder(folder: Path, config: ModelConfig, state: dict[str, Tensor], lineage: dict[str, Any]) -> None:
    """Write the three files of a model folder into `folder`."""
    save_weights(folder / WEIGHTS, state)
    write_json(folder / CONFIG, config.model_dump(exclude_none=True))
    write_json(folder / LINEAGE, lineage)


def save_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Write a state dict as safetensors, atomically; raises StepFailed where the disk does not take it."""
    with write_atomic(path) as partial:
        try:
            save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, partial)
            partial.chmod(_readable_as_others_are())
        except SafetensorError as error:
            reason = str(error).partition(": ")[2] or str(error)
            raise StepFailed(f"{path}: cannot be written ({reason}); free some space and run the same command") from None


def _readable_as_others_are() -> int:
    """The mode that a plainly opened new file has; safetensors gives its files to their owner alone."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


def read_config(folder: Path) -> ModelConfig:
    """Return the configuration of a model folder; raises InputError where it is none."""
    if folder.is_file():
        raise InputError(
            f"{folder}: is a file, not a model folder; `cavmae import {folder} --out FOLDER` makes one of a checkpoint"
        )
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder")
    document = read_json(folder / CONFIG)
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{folder / CONFIG}: {first_problem(error)}") from None


def check_modalities(config: ModelConfig, folder: Path, task: str, remedy: str = "") -> None:
    """Raise InputError, which may say a `remedy`, where a task needs pictures and the model in `folder` has no visual parts."""
    if config.modalities == "a":
        needs = f"{task} needs one of both modalities" + (f"; {remedy}" if remedy else "")
        raise InputError(f"{folder}: is a model of sound alone, without visual parts; {needs}")


def check_sample_rate(config: ModelConfig, settings: Mapping[str, object], folder: Path, dataset: Path) -> None:
    """Raise InputError where a data set's waveforms have another rate than those that the model was made for."""
    if settings["sample_rate"] != config.clip.sample_rate:
        raise InputError(
            f"{folder}: is made for {config.clip.sample_rate} Hz, {dataset} holds {settings['sample_rate']} Hz; "
            f"run extract with sample_rate={config.clip.sample_rate}"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raises InputError where it cannot be read."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def read_model(folder: Path) -> tuple[ModelConfig, CAVMAE | CAVMAEFT]:
    """Return configuration and model of a folder, weights loaded strictly; raises InputError naming what does not fit."""
    config = read_config(folder)
    model = config.build()
    load_into(model, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    return config, model


def check_fits(config: ModelConfig, state: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError where `state`, read from `path`, does not fit the model, of which none is made; as `load_into` does."""
    with torch.device("meta"):  # names and shapes without memory
        model = config.build()
    try:
        model.check_strict(dict(state))
    except ValueError as error:
        raise InputError(f"{path}: the weights do not fit the model: {error}") from None


def load_into(model: AudioVisualEncoder, state: dict[str, Tensor], path: Path) -> None:
    """Load `state`, read from `path`, strictly; raises InputError naming what is missing, unexpected or of another shape."""
    try:
        model.load_strict(state)
    except ValueError as error:
        raise InputError(f"{path}: the weights do not fit the model: {error}") from None
