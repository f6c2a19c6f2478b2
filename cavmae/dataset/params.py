"""Parameters of the steps that make the data set: `ingest` and `extract`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cavmae.params import Section

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class SampleParams(Section):
    """The generated sample set."""

    clips: Annotated[int, Field(ge=24)]
    broken: bool
    seconds: Annotated[float, Field(ge=0.5, le=60)]
    size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    fps: Annotated[int, Field(ge=1, le=60)]
    sample_rate: Literal[16000, 22050, 32000, 44100, 48000]
    shared_facts: bool


class IngestParams(Section):
    """What to ingest, and how it is cut and split."""

    source: Annotated[str, Field(min_length=1)]
    val_source: str | None
    test_source: str | None
    memory: Annotated[str, Field(min_length=1)] | None
    watch: str
    labels_csv: str | None
    weights_csv: str | None
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    val_share: Share
    test_share: Share
    window_s: Annotated[float, Field(gt=0, le=600)]
    hop_s: Positive | None
    shard_clips: Annotated[int, Field(ge=1, le=100_000)]
    workers: Annotated[int, Field(ge=1, le=512)]
    sample: SampleParams

    @model_validator(mode="after")
    def _choices_agree(self) -> "IngestParams":
        if self.source == "sample" and (self.val_source or self.test_source):
            raise ValueError(
                "the sample set has splits of its own; leave val_source and test_source null, or name another source"
            )
        if self.weights_csv and not self.source.lower().endswith((".csv", ".json")):
            raise ValueError("weights_csv has one weight for each row of the source, which must be a .csv or .json then")
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share and test_share together must be below 1")
        return self


class ExtractParams(Section):
    """What a clip looks like in the shards, and what is still good enough to become one."""

    frames: Annotated[int, Field(ge=1, le=100)]
    frame_size: Annotated[int, Field(ge=16, le=1024)]
    frame_index: Literal["exact", "official"]
    sample_rate: Annotated[int, Field(ge=8000, le=96000)]
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    min_duration_s: Annotated[float, Field(ge=0)]
    silence_dbfs: Annotated[float, Field(le=0)]
    max_pixels: Annotated[int, Field(ge=1)]
    clip_timeout_s: Positive
    max_download_bytes: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=1, le=512)]
    store: Annotated[str, Field(min_length=1)] | None
    part: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}/[1-9][0-9]{0,5}$")] | None

    @model_validator(mode="after")
    def _part_has_a_place(self) -> "ExtractParams":
        if self.part is None:
            return self
        number, _, of = self.part.partition("/")
        if int(number) > int(of):
            raise ValueError(f"part {self.part} does not exist; the last one is {of}/{of}")
        if self.store is None:
            raise ValueError("a part is put together with the others through a store; name one, a folder or s3://bucket/prefix")
        return self
