"""The configuration of an official checkpoint: sizes from the shapes of its weights, the rest from parameters."""

from cavmae.errors import InputError
from cavmae.models.cavmaeft import Mode
from cavmae.models.folder import ClipShape, LabelName, ModelConfig, Normalisation
from cavmae.models.official_sizes import architecture_of, length_of
from cavmae.models.official_state import OfficialState
from cavmae.models.params import ImportParams

# outputs of the published classifiers: VGGSound has one label a clip, AudioSet several
_SINGLE_LABEL = {309: True, 527: False}


def official_config(state: OfficialState, params: ImportParams, labels: list[LabelName] | None) -> ModelConfig:
    """Return the configuration of the model folder that the checkpoint becomes.

    `labels` are a classifier's, in the order of its outputs; None numbers them. Raises InputError naming the parameter that
    does not fit the checkpoint, or that is needed and not given.
    """
    architecture = architecture_of(state, params)
    clip = ClipShape(
        window_s=params.window_s,
        frames=params.frames,
        frame_size=architecture.img_size,
        frame_index=params.frame_index,
        sample_rate=params.sample_rate,
    )
    normalisation = Normalisation(mean=params.mean, std=params.std)
    if state.kind == "pretrained":
        given = [key for key in ("labels_csv", "mode", "single_label") if getattr(params, key) is not None]
        if given:
            raise InputError(f"is a pretrained model without a classification head; leave {given[0]} out")
        return ModelConfig(
            kind="pretrained",
            architecture=architecture,
            clip=clip,
            normalisation=normalisation,
            norm_pix_loss=params.norm_pix_loss,
        )
    outputs = length_of(state.parameters, ("mlp_head.1.bias", 0), ("mlp_head.1.weight", 0))
    return ModelConfig(
        kind="classifier",
        modalities=state.modalities,
        architecture=architecture,
        clip=clip,
        normalisation=normalisation,
        mode=_mode(state, params),
        single_label=_single_label(outputs, params),
        labels=_labels(outputs, params, labels),
    )


def _mode(state: OfficialState, params: ImportParams) -> Mode:
    if state.modalities == "av":
        return params.mode or "multimodal"
    if params.mode not in (None, "audioonly"):
        raise InputError(f"has no visual parts, so that mode '{params.mode}' is not possible; leave mode out")
    return "audioonly"


def _single_label(outputs: int, params: ImportParams) -> bool:
    if params.single_label is not None:
        return params.single_label
    if outputs not in _SINGLE_LABEL:
        raise InputError(
            f"has {outputs} outputs, which does not tell what they are; "
            "set single_label=true (one label a clip, softmax) or single_label=false (several, sigmoid)"
        )
    return _SINGLE_LABEL[outputs]


def _labels(outputs: int, params: ImportParams, labels: list[LabelName] | None) -> list[LabelName]:
    if labels is None:
        return [LabelName(mid=str(index), display_name=f"label {index}") for index in range(outputs)]
    if len(labels) != outputs:
        raise InputError(
            f"has {outputs} outputs, {params.labels_csv} lists {len(labels)} labels; give the list it was trained with"
        )
    return labels
