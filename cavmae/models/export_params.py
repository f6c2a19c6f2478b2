"""Parameters of `export`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cavmae.params import Section


class ExportParams(Section):
    """What is written, and for ONNX what the graph takes."""

    format: Literal["onnx", "official"]
    features: Literal["inside", "outside"]
    mode: Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"] | None
    opset: Annotated[int, Field(ge=18, le=24)]
    threads: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _mode_is_of_onnx(self) -> "ExportParams":
        if self.format == "official" and self.mode is not None:
            raise ValueError("the original's checkpoint has no mode: leave mode null, or export with format=onnx")
        return self
