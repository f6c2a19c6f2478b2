"""Parameters of `evaluate`, `compare`, `predict`, `retrieve`, `embed` and `inpaint`."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cavmae.params import Section

Count = Annotated[int, Field(ge=1)]


class EvaluateParams(Section):
    """What is measured, on which clips."""

    split: Literal["train", "val", "test"]
    batch_size: Count
    replicates: Annotated[int, Field(ge=0)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    official_metrics: bool
    seed: Annotated[int, Field(ge=0)]
    examples: Annotated[int, Field(ge=0)]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    threads: Count


class CompareParams(Section):
    """On which clips the candidate meets the champion, and what it takes to be promoted."""

    split: Literal["train", "val", "test"]
    metric: Literal["mAP", "accuracy", "mAUC", "precision", "recall", "f1"]
    rule: Literal["interval", "point", "not_worse"]
    margin: Annotated[float, Field(ge=0, lt=1)]
    replicates: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    batch_size: Count
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    threads: Count


class PredictParams(Section):
    """How predictions are made and shown."""

    top: Count
    hop_s: Annotated[float, Field(gt=0)] | None
    per_frame: bool
    format: Literal["table", "jsonl"]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    threads: Count


class RetrieveParams(Section):
    """What is retrieved, how it is counted, and what is shown of it."""

    split: Literal["train", "val", "test"]
    frames: Literal["middle", "all"]
    official_ties: bool
    gallery_queries: Annotated[int, Field(ge=0, le=100)]
    batch_size: Count
    replicates: Annotated[int, Field(ge=0)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    threads: Count


class EmbedParams(Section):
    """Which features of which clips are written, and how."""

    features: Literal["pooled", "tokens"]
    modality: Literal["audio", "video", "joint", "all"]
    frames: Literal["middle", "all"]
    split: Literal["all", "train", "val", "test"]
    hop_s: Annotated[float, Field(gt=0)] | None
    format: Literal["auto", "parquet", "npz"]
    float16: bool
    batch_size: Count
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bf16"]
    threads: Count

    @field_validator("frames")
    @classmethod
    def _tokens_of_one_picture(cls, value: str, info: ValidationInfo) -> str:
        if value == "all" and info.data.get("features") == "tokens":
            raise ValueError("tokens are those of one picture: set frames=middle, or features=pooled")
        return value


class InpaintParams(Section):
    """What is hidden of which clips, and how the rest is made audible."""

    count: Count
    split: Literal["train", "val", "test"]
    mask_ratio_a: Annotated[float, Field(ge=0, le=1)]
    mask_ratio_v: Annotated[float, Field(ge=0, le=1)]
    mask_mode: Literal["unstructured", "time", "freq", "tf"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    griffin_lim_iterations: Count
    device: Literal["cpu", "cuda"]
    threads: Count

    @field_validator("mask_ratio_v")
    @classmethod
    def _something_is_hidden(cls, value: float, info: ValidationInfo) -> float:
        if value == 0 and info.data.get("mask_ratio_a") == 0:
            raise ValueError("it must be above 0 where mask_ratio_a is 0: nothing would be hidden")
        return value
