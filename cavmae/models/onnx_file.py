"""Writing a model as an ONNX file, and checking what was written against torch."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cavmae.errors import InputError, StepFailed
from cavmae.features.front_end import RawBatch
from cavmae.models.folder import ModelConfig
from cavmae.models.onnx_graph import BATCH, SAMPLES, Graph

log = logging.getLogger(__name__)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
_LARGEST_WEIGHTS = 3 * 2**29  # bytes; an ONNX file ends at 2 GiB, graph and all


def require_packages() -> None:
    """Raise InputError naming what is not installed of that which ONNX export needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise InputError(f"format=onnx needs {names}, not installed here; install with `pip install {' '.join(missing)}`")


def write_onnx(path: Path, graph: Graph, opset: int, metadata: Mapping[str, str]) -> list[Path]:
    """Trace the graph, write it to `path`, and return the files written: weights beyond 1.5 GB stand in a second one.

    The batch and the number of samples stay open. The same model gives the same bytes, wherever it is exported: what the
    tracer notes of source files and their places is left out. Raises StepFailed where it cannot be traced to `opset`.
    """
    from onnx.helper import find_min_ir_version_for, make_opsetid

    example = graph.feed(probe(graph.config, 2))
    batch, samples = torch.export.Dim(BATCH), torch.export.Dim(SAMPLES, min=1)
    shapes = {name: {0: batch, 1: samples} if name == "waveform" else {0: batch} for name in example}
    with _quiet():
        program = torch.onnx.export(
            graph.module,
            kwargs=example,
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=[port.name for port in graph.outputs],
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    if model.opset_imports.get("") != opset:
        raise StepFailed(f"the graph cannot be brought to opset {opset}; try another, for example opset=18")
    # the oldest file format that has these operators, for runtimes that are not the newest
    model.ir_version = find_min_ir_version_for([make_opsetid("", opset)])
    _forget_sources(model)
    model.metadata_props.update(metadata)
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    program.save(path, external_data=weights > _LARGEST_WEIGHTS)
    return [file for file in (path, path.with_name(f"{path.name}.data")) if file.exists()]


def check_onnx(path: Path, graph: Graph, threads: int) -> float:
    """Run the file on clips of several lengths in batches of several sizes; return its largest difference from torch.

    The difference is relative to the largest value of an output, where that is above 1. Raises StepFailed where it is
    above 1e-4, or a shape is another.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for clips in (1, 3):
        raw = probe(graph.config, clips)
        given = {name: value.numpy() for name, value in graph.feed(raw).items()}
        results = session.run([port.name for port in graph.outputs], given)
        for port, got, want in zip(graph.outputs, results, graph.expected(raw), strict=True):
            wanted = want.numpy()
            difference = np.inf
            if got.shape == wanted.shape:
                difference = float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))
            if not difference <= TOLERANCE:
                raise StepFailed(
                    f"{path.name}: '{port.name}' differs from torch by {difference:.1e} on a batch of {clips}, more than "
                    f"{TOLERANCE:.0e}; nothing was kept; try another opset"
                )
            worst = max(worst, difference)
    return worst


def probe(config: ModelConfig, clips: int) -> RawBatch:
    """Clips to trace and to compare with: tones over noise that fade into digital silence, each shorter than the one before.

    The third is shorter than one frame of the spectrogram. Always the same for the same configuration.
    """
    settings, side = config.fbank, config.architecture.img_size
    rng = np.random.default_rng(0)
    lengths = (settings.max_samples, settings.max_samples // 2, settings.window - 1)
    waveforms, frames = [], []
    for clip in range(clips):
        time = np.arange(lengths[clip % len(lengths)]) / settings.sample_rate
        tone = 8000 * np.sin(2 * np.pi * (300 + 500 * clip) * time * (1 + time))
        fading = np.clip(1.2 - time / max(time[-1], 1e-9), 0, 1) ** 4
        waveforms.append(((tone + rng.normal(0, 300, len(time))) * fading).astype(np.int16))
        frames.append(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    return RawBatch.collate(waveforms, frames, settings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the tracer says to its own developers: operators of libraries that are not there, shared dimensions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _forget_sources(model: Any) -> None:
    """Remove from an onnx_ir model what tells where the code lay that was traced."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
