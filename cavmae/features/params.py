"""Parameters of the step that measures spectrograms."""

from typing import Annotated, Literal

from pydantic import Field

from cavmae.params import Section

Size = Annotated[int, Field(ge=1)]


class StatisticsParams(Section):
    """Which clips are measured, with which filter banks."""

    split: Literal["train", "val", "test"]
    num_mel_bins: Size
    audio_length: Size | None
    threads: Size
