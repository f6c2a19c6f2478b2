"""What somebody who holds only the ONNX graph must know to feed it and to read its outputs."""

import json
from typing import Any

from cavmae.features import fbank
from cavmae.features.images import IMAGENET_MEAN, IMAGENET_STD
from cavmae.models.onnx_graph import Graph


def onnx_facts(graph: Graph, source: dict[str, str], opset: int) -> dict[str, Any]:
    """Return inputs, outputs, labels, and how sound and picture become features; `source` are the model folder's hashes."""
    config, settings = graph.config, graph.config.fbank
    names = ("name", "type", "shape", "holds")
    facts: dict[str, Any] = {
        "kind": config.kind,
        "mode": graph.mode,
        "features": graph.features,
        "opset": opset,
        "inputs": [{name: getattr(port, name) for name in names} for port in graph.inputs],
        "outputs": [{name: getattr(port, name) for name in names} for port in graph.outputs],
        "source": source,
    }
    if config.labels is not None:
        facts["labels"] = [label.model_dump() for label in config.labels]
        facts["single_label"] = bool(config.single_label)
    if graph.reference.hears:
        facts["sample_rate"] = settings.sample_rate
        facts["max_samples"] = settings.max_samples
        facts["log_mel"] = {
            "mean": config.normalisation.mean,
            "std": config.normalisation.std,
            "frames": settings.target_length,
            "bins": settings.num_mel_bins,
            "window_samples": settings.window,
            "shift_samples": settings.shift,
            "fft_samples": settings.padded_window,
            "low_hz": fbank.LOW_HZ,
            "pre_emphasis": fbank.PREEMPHASIS,
            "floor": fbank.FLOOR,
            "recipe": "Kaldi fbank: htk_compat, Hann window, no dither; 0 behind the clip's end; then (value - mean) / std",
        }
    if graph.reference.sees:
        facts["image"] = {
            "count": "one a clip; for several, repeat the sound for each and average the outputs",
            "size": config.architecture.img_size,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "recipe": "short side resized (bicubic), centre square cropped, RGB; (value / 255 - mean) / std",
        }
    return facts


def as_metadata(facts: dict[str, Any]) -> dict[str, str]:
    """The same as text by key, as ONNX files carry it; what is no text is JSON."""
    return {
        f"cavmae.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for key, value in facts.items()
    }
