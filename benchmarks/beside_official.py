"""The original's models beside ours: the same weights, the same random inputs; largest differences, and time of a step.

    PYTHONPATH=/path/to/cav-mae/src python -m benchmarks.beside_official [--batch 4] [--seed 0] [--small]

The original needs timm 0.4.5 (`pip install --no-deps timm==0.4.5 torchvision`) in the environment that runs this. Differences are
float32 rounding: the attention kernels differ. Exits with 1 where one is larger than the tolerance of the parity tests.
"""

import argparse
import contextlib
import importlib
import io
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cavmae.models import CAVMAE, CAVMAEFT
from cavmae.models.cavmaeft import MODES
from cavmae.models.masking import MASK_MODES

CLOSE = {"loss": 1e-5, "activations": 2e-4}
_SMALL = {"embed_dim": 96, "num_heads": 4}


def official_models() -> Any:
    """Import the original's package `models`, which must be on PYTHONPATH; raises SystemExit where it is not."""
    if not hasattr(np, "float"):
        np.float = float  # type: ignore[attr-defined]  # the original is older than numpy's removal of the name
    try:
        return importlib.import_module("models")
    except ImportError as error:
        raise SystemExit(
            f"benchmarks.beside_official: {error}; set PYTHONPATH to the original's src and install timm 0.4.5"
        ) from None


def pair(kind: str, official: Any, sizes: dict[str, Any], seed: int) -> tuple[nn.Module, nn.Module]:
    """The original's model with random weights, and ours with the same, loaded strictly."""
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "CAVMAE":
            theirs, ours = (
                official.CAVMAE(modality_specific_depth=11, norm_pix_loss=True, **sizes),
                CAVMAE(norm_pix_loss=True, **sizes),
            )
        else:
            theirs, ours = official.CAVMAEFT(11, modality_specific_depth=11, **sizes), CAVMAEFT(11, **sizes)
    with torch.no_grad():
        for parameter in theirs.parameters():  # first weights leave the norms at 1 and 0: no test of which norm is used where
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    ours.load_strict(theirs.state_dict())  # type: ignore[operator]
    return theirs.eval(), ours.eval()


def largest(theirs: Any, ours: Any) -> float:
    """Largest absolute difference over nested tensors; infinite where one of them is not a number."""
    if isinstance(theirs, Tensor):
        difference = float((theirs - ours).abs().max())
        return difference if math.isfinite(difference) else math.inf
    return max(largest(one, other) for one, other in zip(theirs, ours, strict=True))


def seeded(seed: int, call: Callable[[], Any]) -> Any:
    """The result of a call whose masks are drawn from `seed`."""
    torch.manual_seed(seed)
    random.seed(seed)
    return call()


def comparisons(official: Any, batch: int, seed: int, sizes: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield what was compared, the kind of number, and the largest difference."""
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(batch, 1024, 128, generator=generator)
    imgs = torch.randn(batch, 3, 224, 224, generator=generator)
    theirs, ours = pair("CAVMAE", official, sizes, seed)
    with torch.no_grad():
        for mode in MASK_MODES:
            ours.official_ties = True  # type: ignore[assignment]
            want = seeded(seed, lambda mode=mode: theirs(audio, imgs, mask_mode=mode))
            got = seeded(seed, lambda mode=mode: ours(audio, imgs, mask_mode=mode))
            yield f"losses, {mode} masks", "loss", largest(want[:5], got[:5])
            yield f"masks, {mode}", "loss", largest(want[5:7], got[5:7])
        want = seeded(seed, lambda: theirs.forward_inpaint(audio, imgs, 0.5, 0.9))
        got = seeded(seed, lambda: ours.forward_inpaint(audio, imgs, 0.5, 0.9))
        yield "predictions at ratios 0.5 and 0.9", "activations", largest(want[:4], got[:4])
        yield "features", "activations", largest(theirs.forward_feat(audio, imgs), ours.forward_feat(audio, imgs))
    for model in (theirs, ours):
        seeded(seed, lambda model=model: model(audio, imgs)[0]).backward()
    wanted = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    found = {name: value.grad for name, value in ours.named_parameters() if value.grad is not None}
    assert wanted.keys() == found.keys(), "other parameters get a gradient"
    # the bias of a key projection has no gradient in exact arithmetic: what is small is rounding
    small = 1e-3 * max(float(grad.norm()) for grad in wanted.values())
    relative = max(float((found[name] - grad).norm() / (grad.norm() + small)) for name, grad in wanted.items())
    yield f"gradients of {len(wanted)} parameters, relative", "activations", relative
    theirs, ours = pair("CAVMAEFT", official, sizes, seed)
    with torch.no_grad():
        for mode in MODES:
            yield f"logits, {mode}", "activations", largest(theirs(audio, imgs, mode), ours(audio, imgs, mode))


def fastest_steps(models: tuple[nn.Module, nn.Module], audio: Tensor, imgs: Tensor, repeats: int) -> list[float]:
    """CPU seconds of each model's fastest training step on one thread, in turns: other work hardly moves them."""
    torch.set_num_threads(1)
    fastest = [float("inf"), float("inf")]
    for _ in range(repeats):
        for at, model in enumerate(models):
            started = time.process_time()
            model.train()(audio, imgs)[0].backward()
            fastest[at] = min(fastest[at], time.process_time() - started)
            model.zero_grad(set_to_none=True)
    return fastest


def main() -> int:
    """Print the differences and the time of a step; return 1 where a difference is too large."""
    parser = argparse.ArgumentParser(prog="benchmarks.beside_official", description="The original's models beside ours.")
    parser.add_argument("--batch", type=int, default=4, help="clips")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and masks")
    parser.add_argument("--small", action="store_true", help="a narrow model of the same depth")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each; 0: none")
    options = parser.parse_args()
    official, sizes = official_models(), _SMALL if options.small else {}
    worst = 0
    for name, kind, difference in comparisons(official, options.batch, options.seed, sizes):
        fits = difference <= CLOSE[kind]
        worst |= not fits
        print(f"{name:44s} {difference:.1e}{'' if fits else f'  more than {CLOSE[kind]:.0e}'}")
    if options.repeats:
        audio, imgs = torch.randn(options.batch, 1024, 128), torch.randn(options.batch, 3, 224, 224)
        slow, fast = fastest_steps(pair("CAVMAE", official, sizes, options.seed), audio, imgs, options.repeats)
        print(f"{'training step':44s} original {slow:.2f} s of one core, ours {fast:.2f} s: {slow / fast:.2f} times as fast")
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
