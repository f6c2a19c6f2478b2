"""Parameters of the steps that a model comes from: the first one, one that is there, and one of the original."""

from typing import Annotated, Literal

from pydantic import Field

from cavmae.params import Section

Size = Annotated[int, Field(ge=1)]


class ArchitectureParams(Section):
    """Sizes of the model; img_size and audio_length follow the data where they are null."""

    img_size: Size | None
    audio_length: Size | None
    num_mel_bins: Size
    patch_size: Size
    audio_patch_size: Size
    embed_dim: Size
    depth: Size
    modality_specific_depth: Annotated[int, Field(ge=0)]
    num_heads: Size
    mlp_ratio: Annotated[float, Field(gt=0)]
    decoder_embed_dim: Size
    decoder_depth: Annotated[int, Field(ge=0)]
    decoder_num_heads: Size


class AdaptParams(Section):
    """Where the first weights come from, and the shape of the model."""

    checkpoint: str | None
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    mean: float | None
    std: Annotated[float, Field(gt=0)] | None
    threads: Size
    model: ArchitectureParams


class FetchParams(Section):
    """Which model is brought where no registry has a champion."""

    source: Annotated[str, Field(min_length=1)] | None


class ImportParams(Section):
    """What an official checkpoint does not say by the shapes of its weights; null: what its kind suggests."""

    labels_csv: str | None
    mode: Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"] | None
    single_label: bool | None
    num_heads: Size
    decoder_num_heads: Size
    num_mel_bins: Size
    mean: float
    std: Annotated[float, Field(gt=0)]
    norm_pix_loss: bool
    window_s: Annotated[float, Field(gt=0, le=600)]
    frames: Annotated[int, Field(ge=1, le=100)]
    frame_index: Literal["exact", "official"]
    sample_rate: Annotated[int, Field(ge=8000, le=96000)]
