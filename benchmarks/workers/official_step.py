"""The original's own training loop, `traintest_cavmae.train`, in turns: its loader waits, its forward is overheard."""

import contextlib
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.workers.material import LOSS_WEIGHTS, MASK_RATIO, SIZES, TRAINING, Material, as_floats, batch, fill
from benchmarks.workers.pipe import Meter, Turns, peak_bytes


class Loader:
    """Takes the place of the original's DataLoader: a step lasts from one batch being given to the next being asked for."""

    def __init__(self, turns: Turns, settings: dict[str, Any], noise: list[Tensor]) -> None:
        self._turns, self._settings, self._noise = turns, settings, noise
        self.heard: list[tuple[Tensor, ...]] = []

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, None]]:
        meter, fixed = Meter(), None
        while True:
            request = self._turns.wait()
            if request.get("fresh") or fixed is None:
                fixed = batch(self._settings["seed"], request["turn"], self._settings["batch"]).to(self._settings["device"])
            material: Material = fixed
            self._noise[:] = [material.noise_a, material.noise_v]
            self.heard.clear()
            self._finish()
            meter.start()
            yield material.audio, material.images, None
            self._finish()
            self._turns.answer(**meter.read(), losses=as_floats(self.heard[-1]), peak_bytes=self._peak())

    def _finish(self) -> None:
        if self._settings["device"] == "cuda":
            torch.cuda.synchronize()

    def _peak(self) -> int:
        return torch.cuda.max_memory_allocated() if self._settings["device"] == "cuda" else peak_bytes()


def given_noise(noise: list[Tensor]) -> Any:
    """Return what stands in for `torch.rand` while the original draws its masks, audio first."""
    drawn = torch.rand

    def rand(*size: Any, **options: Any) -> Tensor:
        if noise and tuple(size) == tuple(noise[0].shape):
            return noise.pop(0)
        found: Tensor = drawn(*size, **options)
        return found

    return rand


def main() -> None:
    """Build the original's model with the given weights, then train it until there are no more turns."""
    turns = Turns()
    settings = turns.wait()
    torch.set_num_threads(settings["threads"])
    np.float = float  # type: ignore[attr-defined]  # the original is older than numpy's removal of the name
    import models
    import traintest_cavmae

    model = models.CAVMAE(norm_pix_loss=True, modality_specific_depth=11, **SIZES[settings["size"]])
    names = fill(model, settings["seed"])
    noise: list[Tensor] = []
    loader = Loader(turns, settings, noise)
    model.register_forward_hook(lambda _module, _inputs, output: loader.heard.append(output[:5]))
    torch.rand = given_noise(noise)
    if settings["precision"] == "float32":
        # as shipped the loop asks for fp16 on a GPU; torch itself ignores that on a CPU
        traintest_cavmae.autocast = contextlib.nullcontext
        traintest_cavmae.GradScaler = lambda: torch.amp.GradScaler("cuda", enabled=False)
    with tempfile.TemporaryDirectory() as folder:
        options = Namespace(
            exp_dir=folder,
            lr=TRAINING["lr"],
            lr_adapt=False,
            lrscheduler_start=10,
            lrscheduler_step=5,
            lrscheduler_decay=0.5,
            n_epochs=1,
            dataset="audioset",
            masking_ratio=MASK_RATIO,
            mask_mode="unstructured",
            mae_loss_weight=LOSS_WEIGHTS["mae"],
            contrast_loss_weight=LOSS_WEIGHTS["contrast"],
            n_print_steps=100,
            save_model=False,
        )
        turns.answer(names=names, torch=torch.__version__, parameters=sum(p.numel() for p in model.parameters()))
        traintest_cavmae.train(model, loader, None, options)


if __name__ == "__main__":
    main()
