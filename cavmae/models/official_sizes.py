"""The sizes of an official checkpoint, read from the shapes of its weights."""

import math
import re
from collections import Counter
from collections.abc import Iterable

from pydantic import ValidationError
from torch import Tensor

from cavmae.errors import InputError
from cavmae.models.folder import Architecture
from cavmae.models.official_state import OfficialState
from cavmae.models.params import ImportParams
from cavmae.models.pos_embed import sincos_2d

# of the published models, where a checkpoint has no visual parts to tell
_IMG_SIZE, _PATCH_SIZE = 224, 16
_MOST_LAYERS = 1000
_SAME_TABLE = 0.03  # mean distance; tables of two grids lie 0.05 and more apart, and one that was moved further tells nothing


def architecture_of(state: OfficialState, params: ImportParams) -> Architecture:
    """Return all sizes; heads and mel bands, which shapes do not tell, are those of `params`.

    A key that is missing or odd is left to the strict check where the others tell its size; else raises InputError naming it.
    """
    parameters = state.parameters
    width = length_of(
        parameters, ("norm.weight", 0), ("norm_a.weight", 0), ("modality_a", 2), ("pos_embed_a", 2), ("norm.bias", 0)
    )
    hidden = _most_common(
        value.shape[0] for key, value in parameters.items() if re.fullmatch(r"blocks_[avu]\.\d+\.mlp\.fc1\.bias", key)
    )
    specific, shared = _layers(parameters, "blocks_a"), _layers(parameters, "blocks_u")
    patch_a = length_of(parameters, ("patch_embed_a.proj.weight", 2), default=_PATCH_SIZE)
    patch_v = length_of(parameters, ("patch_embed_v.proj.weight", 2), default=_PATCH_SIZE)
    places_v = length_of(parameters, ("pos_embed_v", 1), default=(_IMG_SIZE // _PATCH_SIZE) ** 2)
    decoder = {}
    if state.kind == "pretrained":
        decoder = {
            "decoder_embed_dim": length_of(parameters, ("decoder_norm.weight", 0), ("mask_token", 2), ("decoder_embed.bias", 0)),
            "decoder_depth": _layers(parameters, "decoder_blocks"),
            "decoder_num_heads": params.decoder_num_heads,
        }
    try:
        sizes = Architecture(
            img_size=math.isqrt(places_v) * patch_v,
            audio_length=_audio_length(parameters, patch_a, params.num_mel_bins),
            num_mel_bins=params.num_mel_bins,
            patch_size=patch_v,
            audio_patch_size=patch_a,
            embed_dim=width,
            depth=specific + shared,
            modality_specific_depth=specific,
            num_heads=params.num_heads,
            mlp_ratio=_ratio(hidden, width),
            **decoder,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"its weights give {first['loc'][0]} the value {first['input']}: {first['msg']}") from None
    _check_tables(state, sizes)
    return sizes


def _check_tables(state: OfficialState, sizes: Architecture) -> None:
    """Raise InputError naming the first position table that is missing or of another shape than the model will make it.

    Building the model computes these tables in full: what is built is then no larger than what the file holds.
    """
    places = {"a": (sizes.num_mel_bins // sizes.audio_patch_size) * (sizes.audio_length // sizes.audio_patch_size)}
    places["v"] = (sizes.img_size // sizes.patch_size) ** 2
    for prefix, width in (("", sizes.embed_dim), ("decoder_", sizes.decoder_embed_dim)):
        for modality in state.modalities if width is not None else "":
            key, wanted = f"{prefix}pos_embed_{modality}", (1, places[modality], width)
            if key not in state.parameters:
                raise InputError(f"missing {key}")
            if state.parameters[key].shape != wanted:
                raise InputError(f"{key} has shape {tuple(state.parameters[key].shape)}, the model wants {wanted}")
    held = sum(value.numel() for value in state.parameters.values())
    if places["v"] * sizes.embed_dim > held:  # also where the visual table is taken off again
        raise InputError(f"norm.weight has {sizes.embed_dim} values, and all weights together {held}; no such model is that wide")


def _audio_length(parameters: dict[str, Tensor], patch: int, num_mel_bins: int) -> int:
    """Frames of the spectrogram: the audio table has a place for every patch, one row of them for `patch` mel bands."""
    places = length_of(parameters, ("pos_embed_a", 1), ("decoder_pos_embed_a", 1))
    rows = num_mel_bins // patch
    if not rows or places % rows or num_mel_bins % patch:
        raise InputError(
            f"pos_embed_a has {places} places for patches of {patch} x {patch}, which {num_mel_bins} mel bands do not fill "
            "evenly; set num_mel_bins to what it was trained with"
        )
    table = parameters.get("pos_embed_a")
    if table is not None and table.ndim == 3:
        likely = _rows_of_table(table)
        if likely not in (None, rows):
            raise InputError(
                f"pos_embed_a is the table of {likely} rows of patches, num_mel_bins={num_mel_bins} makes {rows}; "
                f"set num_mel_bins={likely * patch}"
            )
    return places // rows * patch


def _rows_of_table(table: Tensor) -> int | None:
    """Rows of the sine-cosine table [1, rows * columns, D] that `table` is, or was before fine-tuning; None for any other."""
    places, width = table.shape[1:]
    if width % 4:
        return None
    distance = {
        rows: float((table - sincos_2d(width, rows, places // rows)).abs().mean())
        for rows in range(1, places + 1)
        if places % rows == 0
    }
    nearest = min(distance, key=lambda rows: distance[rows])
    return nearest if distance[nearest] < _SAME_TABLE else None


def _layers(parameters: dict[str, Tensor], name: str) -> int:
    """Number of blocks; a gap counts, for the strict check to name what is missing in it."""
    numbers = [key.split(".")[1] for key in parameters if key.startswith(f"{name}.")]
    count = 1 + max((int(number) for number in numbers if re.fullmatch(r"\d{1,9}", number, re.ASCII)), default=-1)
    if count > _MOST_LAYERS:
        raise InputError(f"has a block {name}.{count - 1}; no such model has more than {_MOST_LAYERS} layers")
    return count


def length_of(parameters: dict[str, Tensor], *places: tuple[str, int], default: int | None = None) -> int:
    """Return the length that most of the parameters have along the given axis: one odd parameter is then what does not fit.

    Raises InputError where none of them has such an axis and there is no default.
    """
    found = [parameters[key].shape[axis] for key, axis in places if key in parameters and parameters[key].ndim > axis]
    if not found and default is None:
        raise InputError(f"{places[0][0]} is missing, or has another number of axes")
    length = _most_common(found) if found else default
    if not length:
        raise InputError(f"{places[0][0]} has an axis without length")
    return length


def _most_common(lengths: Iterable[int]) -> int:
    counted = Counter(lengths)
    if not counted:
        raise InputError("holds no blocks: blocks_u.0.mlp.fc1.bias is missing")
    return counted.most_common(1)[0][0]


def _ratio(hidden: int, width: int) -> float:
    """The ratio by which the model comes to `hidden` again, although it rounds down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)
