"""A stand-in for `cavmae` in processes that tests start: the real package, with a command of its own in place of its steps."""

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_PACKAGE = f"__path__.append({str(REPOSITORY / 'cavmae')!r})\n"
_COMMAND = '''
import datetime, os, signal, sys, time
from pathlib import Path


def main(arguments):
    step, flags = arguments[0], dict(word[2:].partition("=")[::2] for word in arguments[1:])
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    how, who = flags.get("how", "sum"), int(flags.get("rank", 0))
    if rank == 0:
        print("words", *arguments, sep="|", flush=True)
    if how == "wrong":
        print(f"cavmae {step}: params.yaml: 'lrr' is unknown", file=sys.stderr)
        return 2
    if how == "crash" and rank == who:
        raise RuntimeError("CUDA out of memory.\\nTried to allocate 2 GiB")
    if how == "elsewhere":  # what all have to say is said by one
        if rank != who:
            sys.exit(2)
        print(f"cavmae {step}: too few GPUs", file=sys.stderr)
        return 2
    if how == "kill" and rank == who:
        while len(list(kept_in(flags).glob("ready-*"))) < world - 1:  # or torchrun stops the others before they listen
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sum":
        import torch
        import torch.distributed as distributed

        distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
        total = torch.tensor([rank + 1.0])
        distributed.all_reduce(total)
        distributed.destroy_process_group()
        if rank == 0:
            model = Path(flags["model"])
            model.mkdir(parents=True)
            (model / "sum").write_text(f"{total.item():.0f} of {world}")
            Path(flags["curves"]).write_text("epoch\\n")
        return 0
    return wait(step, rank, flags)


def kept_in(flags):
    return Path(flags["kept"]) if "kept" in flags else Path(os.environ["CAVMAE_WORK"])


def wait(step, rank, flags):
    """Count steps until asked to stop, then write down how far it came."""
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    kept = kept_in(flags)
    checkpoint = kept / f"step-{rank}"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    if done:
        print("resumed at step", done, flush=True)
        if "model" in flags and rank == 0:
            Path(flags["model"]).mkdir(parents=True)
            Path(flags["curves"]).write_text("")
        return 0
    (kept / f"ready-{rank}").touch()
    until = time.monotonic() + 60
    while not asked and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    checkpoint.write_text("7")
    print(f"cavmae {step}: stopped at step 7", file=sys.stderr)
    return 75
'''


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from now on find the stand-in, made in `folder`, which becomes the current one."""
    package = folder / "stand-in" / "cavmae"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_PACKAGE)
    (package / "cli.py").write_text(_COMMAND)
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{REPOSITORY}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(folder)
