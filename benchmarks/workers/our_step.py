"""Our own engine, in turns: its objective is handed the batches, and a step ends where its optimizer has stepped."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.workers.material import AUDIO_LENGTH, IMAGE, LOSS_WEIGHTS, MELS, SIZES, TRAINING, as_floats, batch, fill
from benchmarks.workers.pipe import Meter, Turns, peak_bytes
from cavmae.errors import InputError
from cavmae.features.augment import Draws
from cavmae.features.front_end import RawBatch
from cavmae.models.cavmae import CAVMAE
from cavmae.models.folder import ModelConfig
from cavmae.params import default_params_path, load_section
from cavmae.training.batches import ModelInputs, TrainBatch
from cavmae.training.engine import Engine
from cavmae.training.optimizer import build_optimizer
from cavmae.training.params import PretrainParams
from cavmae.training.pretraining import Pretraining
from cavmae.training.runs import prepare_torch


class InTurns:
    """Pretraining, all of it, on given batches, whose inputs are computed already."""

    def __init__(self, model: CAVMAE, config: ModelConfig, params: PretrainParams, given: dict[str, Any]) -> None:
        nothing: Any = SimpleNamespace(splits={"train": [], "val": [], "test": []}, split=lambda name: [])
        self._pretraining: Any = Pretraining(model, config, nothing, params)
        self._params, self._given = params, given
        self._fixed: TrainBatch | None = None
        self.heard: list[tuple[Tensor, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pretraining, name)

    def order(self, epoch: int) -> np.ndarray:
        """As many batches as there will be turns, and one more: the run ends when there are no more turns."""
        return np.arange(self._params.batch_size * (self._given["turns"] + 1))

    def reading(self, batches: Sequence[Sequence[int]]) -> AbstractContextManager[Callable[[int], None]]:
        """There is nothing to read."""
        return contextlib.nullcontext(lambda number: None)

    def build(self, indices: Sequence[int], epoch: int) -> TrainBatch:
        """The batch of a turn, or always the first where speed is measured."""
        number = indices[0] // self._params.batch_size if self._given["fresh"] else 0
        if self._given["fresh"] or self._fixed is None:
            material = batch(self._given["seed"], number, self._params.batch_size).to(self._params.device)
            nothing = torch.zeros(0)
            self._fixed = TrainBatch(
                clips=[None] * len(indices),  # type: ignore[list-item]  # only their number is asked for
                raw=RawBatch(nothing, nothing, nothing),
                draws=Draws(*[np.zeros(0)] * 7),
                noise_a=material.noise_a,
                noise_v=material.noise_v,
                inputs=ModelInputs(material.audio, material.images),
            )
        return self._fixed

    def loss(self, batch: TrainBatch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """As always, overheard."""
        loss, meters = self._pretraining.loss(batch, device)
        self._hear({"loss": loss.detach(), **meters})
        return loss, meters

    def accumulate(self, *parts: Any, **named: Any) -> dict[str, Tensor]:
        """As always, overheard, where a batch passes in pieces."""
        meters: dict[str, Tensor] = self._pretraining.accumulate(*parts, **named)
        self._hear(meters)
        return meters

    def validate(self, device: torch.device, epoch: int) -> dict[str, float]:
        """There is nothing to validate on."""
        return {}

    def _hear(self, meters: dict[str, Tensor]) -> None:
        mae = LOSS_WEIGHTS["mae"] * (meters["mae_a"] + meters["mae_v"])
        self.heard.append((meters["loss"], mae, meters["mae_a"], meters["mae_v"], meters["contrast"]))


def training_params(settings: dict[str, Any]) -> PretrainParams:
    """Our defaults, with the original's optimizer and objective, and what `--set` changes."""
    changes: dict[str, Any] = {**TRAINING, "optimizer": "adam", "schedule": "constant", "warmup_epochs": 0, "epochs": 1}
    changes |= {"mae_loss_weight": LOSS_WEIGHTS["mae"], "contrast_loss_weight": LOSS_WEIGHTS["contrast"]}
    changes |= {"bidirect_contrast": "false", "norm_pix_loss": "true", "checkpoint_s": 1e9, "keep_epochs": 0}
    changes |= {"batch_size": settings["batch"], **{key: settings[key] for key in ("device", "precision", "threads", "seed")}}
    overrides = [f"{key}={value}" for key, value in changes.items()] + settings["set"]
    return load_section(PretrainParams, "pretrain", default_params_path(), overrides)


def model_config(params: PretrainParams, settings: dict[str, Any]) -> ModelConfig:
    """The model's description, as `adapt` writes it, with the sizes of the original."""
    sizes = {"embed_dim": 768, "num_heads": 12, "decoder_embed_dim": 512, "decoder_depth": 8, "decoder_num_heads": 16}
    sizes |= {"img_size": IMAGE, "audio_length": AUDIO_LENGTH, "num_mel_bins": MELS, "patch_size": 16, "audio_patch_size": 16}
    sizes |= {"depth": 12, "modality_specific_depth": 11, "mlp_ratio": 4, **SIZES[settings["size"]]}
    return ModelConfig.model_validate(
        {
            "kind": "pretrained",
            "architecture": sizes,
            "clip": {"window_s": 10.0, "frames": 10, "frame_size": IMAGE, "frame_index": "official", "sample_rate": 16000},
            "normalisation": {"mean": -5.081, "std": 4.4849},
            "norm_pix_loss": params.norm_pix_loss,
        }
    )


def matmul_peak(device: str, precision: str) -> float:
    """Return the FLOP/s of the fastest of some products of square matrices, in the precision that the model runs in."""
    size, repeats = (8192, 10) if device == "cuda" else (2048, 2)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    fastest = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right)
        if device == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * size**3 / fastest


def main() -> None:
    """Build our model with the given weights, then train it until there are no more turns."""
    turns = Turns()
    settings = turns.wait()
    if settings["device"] == "cuda" and not torch.cuda.is_available():
        turns.answer(missing="a GPU is missing: torch sees none on this machine; measure with --device cpu")
        return
    try:
        params = training_params(settings)
    except InputError as error:
        turns.answer(missing=str(error))
        return
    prepare_torch(params.device, params.threads, params.seed)
    config = model_config(params, settings)
    model = config.build()
    assert isinstance(model, CAVMAE)
    names = fill(model, settings["seed"])
    objective = InTurns(model.to(params.device), config, params, settings)
    optimizer = build_optimizer(model, params)
    parameters, flops = sum(p.numel() for p in model.parameters()), objective.flops_per_clip
    turns.answer(names=names, torch=torch.__version__, parameters=parameters, flops_per_clip=flops)
    with tempfile.TemporaryDirectory() as folder, profiling(settings):
        train(objective, optimizer, params, Stopwatch(turns, objective, params), Path(folder))


class Stopwatch:
    """Answers for the step that has ended, where there was one, and waits for the turn of the next.

    What the device can do at most is measured before each step: on a busy machine that changes by the minute.
    """

    def __init__(self, turns: Turns, objective: InTurns, params: PretrainParams) -> None:
        self._turns, self._objective, self._params, self._meter = turns, objective, params, Meter()
        self._on_gpu = params.device == "cuda"
        self._peak: float | None = None

    def __call__(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
        if self._peak is not None:
            memory = torch.cuda.max_memory_allocated() if self._on_gpu else peak_bytes()
            taken, losses = self._meter.read(), as_floats(self._objective.heard[-1])
            self._turns.answer(**taken, losses=losses, peak_bytes=memory, peak_flops=self._peak)
        self._objective.heard.clear()
        self._turns.wait()
        self._peak = matmul_peak(self._params.device, self._params.precision)
        self._meter.start()


@contextlib.contextmanager
def profiling(settings: dict[str, Any]) -> Iterator[None]:
    """Write a table of what took the time to `settings["profile"]`, where that is given."""
    if not settings.get("profile"):
        yield
        return
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if settings["device"] == "cuda" else [])
    with profile(activities=activities) as profiler, contextlib.suppress(SystemExit):  # there are no more turns
        yield
    by = "self_cuda_time_total" if settings["device"] == "cuda" else "self_cpu_time_total"
    Path(settings["profile"]).write_text(profiler.key_averages().table(sort_by=by, row_limit=30), encoding="utf-8")


def train(
    objective: InTurns, optimizer: torch.optim.Optimizer, params: PretrainParams, between: Callable[[], None], work: Path
) -> None:
    """Run the engine; `between` is called before the first step and when the optimizer has stepped."""
    optimizer.register_step_post_hook(lambda *_: between())
    engine = Engine(objective, optimizer, params, work / "checkpoints", work / "events")
    between()
    engine.run("step")


if __name__ == "__main__":
    main()
