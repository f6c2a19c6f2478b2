"""Several processes for one step: on the GPUs of this machine, or one node's share of a TrainJob.

`python -m components.torchrun STEP …` is what each node of a TrainJob runs.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.storage import read_json, write_json
from components.worker import FOLDER, WORDS

log = logging.getLogger(__name__)

FOLLOWED = "CAVMAE_FOLLOWED"  # environment variable: file that whoever follows the TrainJob touches all the time
_UNFOLLOWED_S = 900.0  # a step's retry in a new pod has to find its node and pull its image in this time
_SAVING_S = 120  # for a checkpoint after SIGTERM; torchrun's own 30 s are short for one on a network disk
_MEETING_S = 1800  # for all nodes to start: one may pull the image while others wait


def run_processes(step: str, arguments: Sequence[str], processes: int) -> None:
    """Run `cavmae STEP ARGUMENTS` as `processes` processes of this machine, one for each GPU where there are any.

    Their output is this process's own. SIGTERM is passed on: the step then writes a checkpoint. Raises InputError, Interrupted
    or StepFailed with the step's own words, as the step does when it runs alone.
    """
    if processes < 1:
        raise InputError(f"{step}: {processes} processes; give at least 1")
    _launch(step, arguments, ("--standalone", f"--nproc-per-node={processes}"))


def main(arguments: Sequence[str]) -> int:
    """Run one node's share of a step, as the variables say that Kubeflow Trainer's torch runtimes set; return the exit code."""
    step = next(iter(arguments), "")
    try:
        if "PET_NNODES" not in os.environ:
            raise InputError("PET_NNODES is not set: this runs in a TrainJob, with a runtime for torch")
        if FOLLOWED in os.environ:
            watch = threading.Thread(target=_leave_when_unfollowed, args=(Path(os.environ[FOLLOWED]),), daemon=True)
            watch.start()
        _launch(step, arguments[1:], (f"--rdzv-conf=timeout={_MEETING_S}",))
    except (InputError, StepFailed, Interrupted) as error:
        # the last line: Kubernetes keeps it in the pod's status where the runtime asks it to
        sys.stderr.write(f"cavmae {step}: {error}\n")
        return error.exit_code
    return 0


def _launch(step: str, arguments: Sequence[str], how: Sequence[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", f"--shutdown-timeout={_SAVING_S}", *how]
    command += ["-m", "components.worker"]
    with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
        write_json(Path(folder) / WORDS, [step, *arguments])
        stopper = _Stopper()
        try:
            # a session of its own: a signal to our group would reach torchrun twice, and the second cuts its waiting short
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=os.environ | {FOLDER: folder}, start_new_session=True
            )
            stopper.attach(process)
            code = process.wait()
        finally:
            stopper.close()
        if code != 0:
            endings = [_Ending(rank=int(path.stem), **read_json(path)) for path in Path(folder).glob("*.json")]
            _conclude(step, endings, code, stopper.asked)


@dataclass(frozen=True)
class _Ending:
    """How one of the processes of this machine ended that are `together`; one that was stopped before it began left nothing.

    `code` is None for one that was killed, and the message may be left to another.
    """

    rank: int
    together: int
    code: int | None
    message: str
    time: float


def _conclude(step: str, endings: Sequence[_Ending], code: int, asked: bool) -> None:
    """Raise what fits how the processes ended, and torchrun with them, whose exit code tells next to nothing."""
    together = max((ending.together for ending in endings), default=0)
    if endings and sum(ending.code == 0 for ending in endings) == together:
        return  # torchrun was asked to stop when all was done
    ended = sorted((ending for ending in endings if ending.code), key=lambda ending: ending.time)
    # processes that saved and left did so because they were asked to, or because another one failed
    saved = [ending.message for ending in ended if ending.code == Interrupted.exit_code]
    failed = [ending for ending in ended if ending.code != Interrupted.exit_code]
    silent = ", ".join(sorted(str(ending.rank) for ending in endings if ending.code is None))
    if asked:
        stopped = "asked to stop before it could save; the same run goes on from the checkpoint before"
        raise Interrupted(next(filter(None, saved), stopped))
    wrong = [ending for ending in failed if ending.code == InputError.exit_code]
    if wrong or failed:
        words = next((ending.message for ending in wrong or failed if ending.message), f"{step} failed without a word")
        if wrong:
            raise InputError(words)
        raise StepFailed(words + (f"; process {silent} of {together} ended without a word" if silent else ""))
    if silent:
        raise StepFailed(f"process {silent} of {together} was killed and could say nothing; was there too little memory?")
    if saved:
        raise Interrupted(next(filter(None, saved), f"{step} stopped"))
    raise StepFailed(f"torchrun ended with exit code {code} before {step} began; its own words stand above")


class _Stopper:
    """Passes SIGTERM on to a process, once, also one that comes before the process is there."""

    def __init__(self) -> None:
        self.asked = self._passed_on = False
        self._process: subprocess.Popen[bytes] | None = None
        self._before: Any = None
        try:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        except ValueError:
            log.debug("not in the main thread: SIGTERM is not passed on")

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """Name the process that SIGTERM is passed on to."""
        self._process = process
        self._pass_on()

    def close(self) -> None:
        """Stop listening; a process that still runs, because waiting for it was cut short, is asked to stop."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self.asked and not self._passed_on and self._process is not None:
            self._passed_on = True
            self._process.terminate()


def _leave_when_unfollowed(path: Path, patience_s: float = _UNFOLLOWED_S) -> None:
    """Ask this process to stop when nobody has touched `path` for `patience_s`: GPUs must not work on for a run that is gone.

    Only changes of the file's time count, so the clocks of two machines need not agree.
    """
    last, seen = -1, time.monotonic()
    while True:
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            stamp = last
        if stamp != last:
            last, seen = stamp, time.monotonic()
        elif time.monotonic() - seen > patience_s:
            log.warning("nobody has followed this job for %.0f s; it stops", patience_s)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(min(30.0, patience_s / 10))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
