"""Parameters of `evaluate` and `predict`."""

from typing import Annotated, Literal

from pydantic import Field

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
    threads: Count


class PredictParams(Section):
    """How predictions are made and shown."""

    top: Count
    hop_s: Annotated[float, Field(gt=0)] | None
    format: Literal["table", "jsonl"]
    device: Literal["cpu", "cuda"]
    threads: Count
