"""The model card: README.md of a model folder, written from what the folder knows."""

from typing import Any

from cavmae.models.folder import ModelConfig

_SHOWN = ("accuracy", "mAP", "mAUC", "f1")


def model_card(name: str, config: ModelConfig, metrics: dict[str, Any], lineage: dict[str, Any], weights_sha256: str) -> str:
    """Return the card as Markdown: what the model takes and gives, how good it is, where it comes from, how to use it."""
    architecture, clip = config.architecture, config.clip
    labels = [label.display_name for label in config.labels or ()]
    how_many = "one" if config.single_label else "any number"
    pictures = f"{clip.frames} pictures of {architecture.img_size} pixels and " if config.modalities == "av" else ""
    lines = [
        f"# {_escape(name)}",
        "",
        f"CAV-MAE (Gong et al., ICLR 2023), fine-tuned in mode `{config.mode}`. One clip is {clip.window_s:g} s of video: "
        f"{pictures}{clip.sample_rate // 1000} kHz mono sound as "
        f"{architecture.audio_length} x {architecture.num_mel_bins} log-mel values.",
        "",
        "    cavmae predict VIDEO --model THIS_FOLDER",
        "",
        "## Labels",
        "",
        f"{len(labels)} labels, {how_many} a clip: {', '.join(map(_escape, labels))}.",
        "",
    ]
    for split, models in sorted(metrics.items()):
        lines += [f"## Measured on the {split} split", "", f"| model | {' | '.join(_SHOWN)} |", f"|---|{'---|' * len(_SHOWN)}"]
        lines += [
            f"| {model} | {' | '.join(_figure(values, key) for key in _SHOWN)} |"
            for model, values in models.items()
            if isinstance(values, dict) and "accuracy" in values and "mAP" in values
        ]
        lines.append("")
    code = lineage.get("code", {})
    lines += [
        "## Where it comes from",
        "",
        f"- weights: sha256 `{weights_sha256}`",
        f"- code: {_commit(code)}",
        *[f"- {line}" for line in _ancestry(lineage)],
        "",
        "lineage.json has parameters, data hashes and parents back to the first weights.",
        "",
        "## Limits",
        "",
        "The figures hold for clips like those of the test split. Labels, recording conditions and lengths that the training",
        "data lacks were not measured.",
        "",
    ]
    return "\n".join(lines)


def _commit(code: dict[str, Any]) -> str:
    if not code.get("commit"):
        return "no commit is known"
    return f"commit `{code['commit']}`{'' if code.get('clean') else ', with local changes'}"


def _ancestry(lineage: dict[str, Any]) -> list[str]:
    steps = []
    current: dict[str, Any] | None = lineage
    while current:
        dataset = current.get("dataset")
        steps.append(f"{current['step']}" + (f" on data `{dataset['clips.parquet'][:16]}`" if dataset else ""))
        parents = list(current.get("parents", {}).values())
        current = parents[0]["lineage"] if parents else None
    return steps


def _figure(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return "-"
    interval = f" ({values[f'{key}_low']:.3f}-{values[f'{key}_high']:.3f})" if f"{key}_low" in values else ""
    return f"{values[key]:.3f}{interval}"


def _escape(name: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#|" else character for character in name)
