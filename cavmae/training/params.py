"""Parameters of the training steps."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cavmae.params import Section

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class TrainingParams(Section):
    """What pretraining and fine-tuning have in common."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    lr: Positive
    weight_decay: NotNegative
    optimizer: Literal["adamw", "adam"]
    beta1: Ratio
    beta2: Ratio
    schedule: Literal["cosine", "step", "constant"]
    warmup_epochs: NotNegative
    decay_start_epoch: Count
    decay_every_epochs: Count
    decay_factor: Annotated[float, Field(gt=0, le=1)]
    clip_grad_norm: Positive | None
    noise: bool
    roll: Annotated[int, Field(ge=0)]
    drop_last: bool
    shuffle_buffer: Count
    readers: Annotated[int, Field(ge=1, le=64)]
    keep_epochs: Annotated[int, Field(ge=0)]
    checkpoint_s: Positive
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "tf32", "bf16"]
    deterministic: bool
    compile: bool
    micro_batch: Count | None
    activation_checkpointing: bool
    ema_decay: Ratio | None
    threads: Count

    @field_validator("warmup_epochs")
    @classmethod
    def _warm_up_ends(cls, value: float, info: ValidationInfo) -> float:
        epochs = info.data.get("epochs")
        if epochs is not None and value >= epochs:
            raise ValueError(f"it must be below epochs, which is {epochs}")
        return value

    @field_validator("precision")
    @classmethod
    def _has_kernels(cls, value: str, info: ValidationInfo) -> str:
        if value == "tf32" and info.data.get("device") == "cpu":
            raise ValueError("it needs device cuda")
        return value


class PretrainParams(TrainingParams):
    """Contrastive masked pretraining."""

    mask_ratio_a: Ratio
    mask_ratio_v: Ratio
    mask_mode: Literal["unstructured", "time", "freq", "tf"]
    mae_loss_weight: NotNegative
    contrast_loss_weight: NotNegative
    bidirect_contrast: bool
    norm_pix_loss: bool
    replicas: Count
    official_ties: bool
    chain_contrast: bool
    fixed_validation: bool

    @field_validator("contrast_loss_weight")
    @classmethod
    def _some_loss(cls, value: float, info: ValidationInfo) -> float:
        if value == 0 and info.data.get("mae_loss_weight") == 0:
            raise ValueError("it must be above 0 where mae_loss_weight is 0")
        return value


class FinetuneParams(TrainingParams):
    """Supervised fine-tuning."""

    mode: Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"]
    loss: Literal["auto", "bce", "ce"]
    head_lr: Positive
    freeze_base: bool
    from_scratch: bool
    label_fraction: Annotated[float, Field(gt=0, le=1)]
    balanced_sampling: bool
    mixup: Share
    freq_mask: Annotated[int, Field(ge=0)]
    time_mask: Annotated[int, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    official_smoothing: bool
    official_metrics: bool


class AverageParams(Section):
    """Which epochs' weights are averaged."""

    by: Literal["last", "range", "best"]
    count: Count
    first_epoch: Count
    last_epoch: Count
