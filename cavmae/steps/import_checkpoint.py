"""Step `import`: a checkpoint of the original CAV-MAE becomes a model folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cavmae.errors import InputError
from cavmae.models.params import ImportParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.models.folder import LabelName, ModelConfig
    from cavmae.models.official_state import OfficialState

log = logging.getLogger(__name__)


def import_checkpoint(checkpoint: str, out: Path, params: ImportParams) -> None:
    """Turn a checkpoint of the original CAV-MAE into a model folder, strictly.

    Every weight must have its place, and every place its weight. Sizes are read from the weights' shapes; what these do not
    say is a parameter. Raises InputError where the file cannot be read safely or is no such model, and naming what is
    missing, unexpected or of another shape.
    """
    from cavmae.features.fbank import SHIFT_S
    from cavmae.locations import local_copy
    from cavmae.models.folder import write_model
    from cavmae.models.lineage import lineage_of
    from cavmae.models.state_file import LARGEST_BYTES
    from cavmae.storage import sha256_file

    _check_paths(checkpoint, out, params)
    with local_copy(checkpoint, LARGEST_BYTES) as path:
        state, config = _read(path, params)
        lineage = lineage_of("import", params, None, {})
        lineage["checkpoint"] = {path.name: sha256_file(path)}
        write_model(out, config, state.parameters, lineage)
    log.info("import: -> %s", out)
    frames, wanted = round(params.window_s / SHIFT_S), config.architecture.audio_length
    if not wanted / 2 < frames < wanted + config.architecture.audio_patch_size:
        log.warning("import: a clip of %g s makes %d frames, the model takes %d; set window_s", params.window_s, frames, wanted)


def _read(checkpoint: Path, params: ImportParams) -> "tuple[OfficialState, ModelConfig]":
    """The weights in a file and the model that they are of, held against each other."""
    import torch

    from cavmae.models.official_config import official_config
    from cavmae.models.official_state import recognise
    from cavmae.models.state_file import read_state

    labels = _labels(params)
    state = recognise(read_state(checkpoint), checkpoint)
    try:
        config = official_config(state, params, labels)
        with torch.device("meta"):  # only names and shapes are asked for
            network = config.build()
        network.check_strict(state.parameters)
    except (InputError, ValueError) as error:
        raise InputError(f"{checkpoint}: {error}") from None
    for line in _lines(state, config, params):
        log.info("import: %s", line)
    broken = [key for key, value in state.parameters.items() if not value.isfinite().all()]
    if broken:
        raise InputError(f"{checkpoint}: {broken[0]} holds values that are not finite: the run that wrote it had failed")
    return state, config


def _check_paths(checkpoint: str, out: Path, params: ImportParams) -> None:
    """The output replaces its folder as a whole: that may be an earlier import, and nothing else; a trained model is none."""
    from cavmae.models.files import CONFIG, LINEAGE, WEIGHTS
    from cavmae.outputs import Written, check_replaceable, lineage_says
    from cavmae.stores import is_remote

    here = None if is_remote(checkpoint) else Path(checkpoint)
    if here is not None and here.is_dir():
        raise InputError(f"{checkpoint}: is a folder; give the checkpoint file itself (.pth or .safetensors)")
    labels = Path(params.labels_csv) if params.labels_csv is not None else None
    check_replaceable(out, (here, labels), Written("import", (CONFIG, WEIGHTS, LINEAGE), lineage_says("import")))


def _labels(params: ImportParams) -> "list[LabelName] | None":
    from cavmae.dataset.labels import read_labels
    from cavmae.models.folder import LabelName

    if params.labels_csv is None:
        return None
    return [LabelName(mid=label.mid, display_name=label.display_name) for label in read_labels(Path(params.labels_csv))]


def _lines(state: "OfficialState", config: "ModelConfig", params: ImportParams) -> list[str]:
    """What was recognised, what was taken off, and what was not in the file."""
    sizes, count = config.architecture, sum(value.numel() for value in state.parameters.values())
    layers = f"{sizes.modality_specific_depth} + {sizes.depth - sizes.modality_specific_depth} layers of width {sizes.embed_dim}"
    decoder = f", decoder {sizes.decoder_depth} x {sizes.decoder_embed_dim}" if state.kind == "pretrained" else ""
    pictures = f", picture {sizes.img_size} px" if state.modalities == "av" else ", no visual parts"
    lines = [
        f"{state.model}, {count / 1e6:.3f} M parameters: {layers}{decoder}, "
        f"audio {sizes.audio_length} x {sizes.num_mel_bins}{pictures}"
    ]
    if state.prefix:
        lines.append(f"taken off every name: {state.prefix}")
    if state.left_out:
        lines.append(f"left out, the model has no use for them: {', '.join(state.left_out)}")
    if state.precision:
        lines.append(f"stored as float32, was {', '.join(state.precision)}")
    heads = f"{sizes.num_heads} heads" + (f", {sizes.decoder_num_heads} in the decoder" if decoder else "")
    told = f"not in the file, from the parameters: {heads}, log-mel mean {params.mean:g} and std {params.std:g}"
    if state.kind == "pretrained":
        lines.append(f"{told}, patches {'normalised' if params.norm_pix_loss else 'not normalised'}")
    else:
        kind = "one label a clip" if config.single_label else "several labels a clip"
        lines.append(f"{told}; {len(config.labels or ())} outputs, {kind}, mode {config.mode}")
        if params.labels_csv is None:
            lines.append(
                "labels are numbered: --labels-csv gives them names, and the mids by which evaluate knows them in the data"
            )
    return lines


STEP = Step(
    function=import_checkpoint,
    params=ImportParams,
    inputs=(
        Artifact(
            "checkpoint",
            "CHECKPOINT",
            "the original's .pth file, or the same as .safetensors; also s3://bucket/key, or the file's object on a DVC remote",
            positional=True,
            remote=True,
        ),
    ),
    outputs=(Artifact("out", "models/imported", "folder for the model"),),
    image="train",
    cpu=1,
    memory_gb=4,
    in_pipeline=False,
    command="import",
)
