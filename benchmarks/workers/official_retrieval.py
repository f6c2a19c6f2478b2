"""The original's retrieval metrics, in turns: its functions, taken from `src/retrieval.py` without running the rest of it.

Imported as a module the file would evaluate checkpoints of its author's.
"""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.workers.pipe import Meter, Turns
from benchmarks.workers.vectors import pairs

_FUNCTIONS = ("get_similarity", "get_sim_mat", "compute_metrics")


def functions_of(file: Path) -> dict[str, Any]:
    """Return the functions by name, with numpy's names that they use."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kept: list[ast.stmt] = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name in _FUNCTIONS]
    space: dict[str, Any] = {"np": np, "dot": np.dot, "norm": np.linalg.norm}
    exec(compile(ast.Module(kept, []), str(file), "exec"), space)  # noqa: S102  # the user's own checkout
    return space


def main() -> None:
    """Measure both directions, a turn."""
    turns = Turns()
    settings = turns.wait()
    torch.set_num_threads(settings["threads"])
    found = functions_of(Path(settings["file"]))
    turns.answer(torch=torch.__version__)
    meter = Meter()
    while True:
        request = turns.wait()
        audio: Any
        video: Any
        audio, video = pairs(settings["seed"], request["clips"][1], settings["width"])
        if not request.get("arrays"):
            # the original holds what its model gave as tensors of torch
            audio, video = torch.from_numpy(audio), torch.from_numpy(video)
        meter.start()
        results = [found["compute_metrics"](found["get_sim_mat"](*both)) for both in ((audio, video), (video, audio))]
        answer = meter.read()
        turns.answer(**answer, r1=[result["R1"] for result in results], clips=len(audio))


if __name__ == "__main__":
    main()
