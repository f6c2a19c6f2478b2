"""Reading files that torch wrote, without running code that may stand in them."""

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch


def load_safely(path: Path) -> Any:
    """Return what `torch.save` wrote to `path`: tensors, numbers, text and collections of them, on the CPU.

    Raises FileNotFoundError, and ValueError with the reason in one line for all else that cannot be read.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # about a file that is no pickle, what follows says more
            warnings.simplefilter("ignore")
            # facebookresearch/mae keeps its command line beside the weights: a Namespace holds values and does nothing
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(lines[0][:120]) from None
