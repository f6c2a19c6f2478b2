"""The original's own checkpoint: a state dict under DataParallel's names, and what its code needs to build the class for it."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cavmae.dataset.labels import Label, write_labels
from cavmae.errors import InputError, StepFailed
from cavmae.models.folder import ModelConfig

CHECKPOINT, LABELS = "audio_model.pth", "class_labels_indices.csv"
# sizes that the original's classes have no argument for, or compute the number of audio patches with
_FIXED = {"depth": 12, "patch_size": 16, "audio_patch_size": 16, "num_mel_bins": 128}
# what the original's scripts build: the base model, whatever the checkpoint holds
_BASE = {"img_size": 224, "embed_dim": 768, "modality_specific_depth": 11, "num_heads": 12, "mlp_ratio": 4.0}
_BASE_DECODER = {"decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16}


def check_official(config: ModelConfig, folder: Path) -> None:
    """Raise InputError naming the first size of the model that the original's classes cannot have."""
    for key, wanted in _FIXED.items():
        found = getattr(config.architecture, key)
        if found != wanted:
            raise InputError(
                f"{folder}: architecture.{key} is {found}, and the original's code knows only {wanted}; export with format=onnx"
            )


def write_official(folder: Path, config: ModelConfig, state: dict[str, Tensor]) -> list[Path]:
    """Write checkpoint and, for a classifier, its labels into `folder`; return the files.

    The same weights give the same bytes. Raises StepFailed where the disk does not take them.
    """
    # in a plain OrderedDict, which `weights_only=True` reads; the name of the file stands inside it
    renamed = OrderedDict((f"module.{key}", value.detach().cpu().contiguous()) for key, value in state.items())
    path = folder / CHECKPOINT
    try:
        torch.save(renamed, path)
    except RuntimeError as error:  # torch's writer has no OSError
        raise StepFailed(f"{path}: cannot be written; is the disk full? ({str(error).splitlines()[0]})") from None
    if config.labels is None:
        return [path]
    write_labels(folder / LABELS, [Label(label.mid, label.display_name) for label in config.labels])
    return [path, folder / LABELS]


def official_facts(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Any]:
    """What the original needs beside the weights: class, constructor arguments, options of its scripts, and what to mind."""
    sizes = config.architecture
    base = _BASE | ({} if config.labels is not None else _BASE_DECODER)
    arguments: dict[str, Any] = {key: getattr(sizes, key) for key in base}
    options: dict[str, Any] = {
        "dataset_mean": config.normalisation.mean,
        "dataset_std": config.normalisation.std,
        "target_length": sizes.audio_length,
    }
    departures = [key for key, value in base.items() if arguments[key] != value]
    arguments |= {"audio_length": sizes.audio_length, "patch_size": sizes.patch_size}
    if config.labels is None:
        name = "CAVMAE"
        arguments["norm_pix_loss"] = options["norm_pix_loss"] = bool(config.norm_pix_loss)
    else:
        name = "CAVMAEFT" if any(key.startswith("patch_embed_v.") for key in state) else "CAVMAEFTAudio"
        arguments["label_dim"] = options["n_class"] = len(config.labels)
        if sizes.audio_length != 1024:
            departures.append("audio_length")  # the fine-tuning script does not pass it on
        options |= {"ftmode": config.mode or "multimodal", "label_csv": LABELS}
        options |= {"loss": "CE", "metrics": "acc"} if config.single_label else {"loss": "BCE", "metrics": "mAP"}
    return {
        "class": f"models.{name}",
        "arguments": arguments,
        "checkpoint": CHECKPOINT,
        "load": "torch.nn.DataParallel(model).load_state_dict(torch.load(checkpoint, map_location='cpu'), strict=True)",
        "options": options,
        "sample_rate": config.clip.sample_rate,
        "mind": _cautions(config, departures),
    }


def _cautions(config: ModelConfig, departures: list[str]) -> list[str]:
    cautions = []
    if departures:
        names = ", ".join(sorted(departures))
        cautions.append(
            f"the original's scripts build its base model: give the class {names} as under `arguments`, in the script"
        )
    if config.clip.sample_rate != 16000:
        cautions.append(f"the original's loader does not resample: give it sound at {config.clip.sample_rate} Hz")
    if any("," in label.mid for label in config.labels or ()):
        cautions.append("a mid holds a comma, which the original's data file uses between labels")
    return cautions
