"""What makes a model train faster or in less memory without changing what it computes but for rounding."""

import os
import shutil

import torch
from torch import nn

from cavmae.errors import InputError
from cavmae.models.blocks import Block
from cavmae.training.params import TrainingParams

_VARIANTS = 64  # compiled forms of a block: two widths, few kinds of pass, with and without gradients


def accelerate(model: nn.Module, params: TrainingParams) -> None:
    """Set kernels, activation checkpointing and compilation; raises InputError where nothing can compile.

    Names and values of the weights stay as they are.
    """
    if params.device == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if params.precision == "tf32" else "ieee"
        # where it may only warn, attention keeps the kernels that do not repeat
        torch.use_deterministic_algorithms(params.deterministic)
    # deterministic algorithms fill new memory with NaN, to show who reads it unwritten; nobody does
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for block in blocks:
        block.checkpointing = params.activation_checkpointing
    if params.compile:
        _require_compiler(params.device)
        compile_blocks(blocks)


def compile_blocks(blocks: list[Block], backend: str = "inductor") -> None:
    """Compile each block in place: that is quick, since equal blocks share the result, and covers nearly all of the work.

    Sizes stay open, so that a smaller last batch, validation and other clips compile nothing again.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VARIANTS)
    for block in blocks:
        block.compile(dynamic=True, backend=backend)
        # beside `forward`, which nn.Module.compile sees to
        vars(block)["passes"] = torch.compile(block.passes, dynamic=True, backend=backend)


def _require_compiler(device: str) -> None:
    """The C++ compiler that kernels for a CPU are built with, or any C compiler, which Triton needs for its launchers."""
    wanted = [os.environ.get("CXX", "g++")] if device == "cpu" else [os.environ.get("CC", "gcc"), "clang"]
    if not any(shutil.which(name) for name in wanted):
        raise InputError(
            f"compile is true, and no {'C++' if device == 'cpu' else 'C'} compiler is there "
            f"({' or '.join(wanted)}); install one (Debian: apt-get install g++), or set compile=false"
        )
