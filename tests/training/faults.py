"""`python -m tests.training.faults PLAN.json`: `cavmae …` with a fault at its N-th event, each try in a process of its own.

Events are counted, not watched for: whatever the command is about to change among files below a folder, each batch whose loss is
worked out, each validation. A fault is a signal to the process itself, or a disk that takes nothing more from then on.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename": 1, "os.link": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "shutil.rmtree": 0}
_GROWS = {"open", "os.rename", "os.link", "os.mkdir"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Events:
    """Counts the events of this process below `folder`, and does `fault` before the N-th (0: never)."""

    def __init__(self, folder: Path, at: int, fault: str) -> None:
        self.folder, self.at, self.fault = str(folder), at, fault
        self.seen: list[str] = []
        self.full = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event == "open":
            changes = isinstance(arguments[2], int) and bool(arguments[2] & _WRITES)
            path = arguments[0]
        elif changes := event in _CHANGES:
            path = arguments[_CHANGES[event]]
        if not changes or not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.abspath(os.fsdecode(path))
        if not place.startswith(self.folder):
            return
        if self.full and event in _GROWS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
        self.count(f"{event} {Path(place).name}", place if event in _GROWS else None)

    def count(self, what: str, grows: str | None = None) -> None:
        """One more event, which takes space on the disk where a file or folder `grows`."""
        self.seen.append(what)
        if len(self.seen) != self.at:
            return
        if self.fault == "full":
            self.full = True
            if grows is not None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), grows)
        else:
            os.kill(os.getpid(), signal.Signals[self.fault])

    def calls(self, kind: type, method: str, what: str) -> None:
        """Count the calls of a method as well."""
        real: Callable[..., Any] = getattr(kind, method)

        def counted(*arguments: Any, **more: Any) -> Any:
            self.count(what)
            return real(*arguments, **more)

        setattr(kind, method, counted)


def command(words: list[str], out: Path, at: int = 0, fault: str = "SIGKILL") -> tuple[int, list[str], str]:
    """Run `cavmae WORDS` in a process of its own; return its exit code, the events before its end and its messages."""
    log, heard = out / "messages", out / "events.log"
    out.mkdir(parents=True, exist_ok=True)
    if (child := os.fork()) == 0:
        os.environ["CAVMAE_WORK"] = str(out / "work")
        sys.argv = ["cavmae", *words]
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        seen = os.open(heard, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        from cavmae.__main__ import run
        from cavmae.training.finetuning import Finetuning
        from cavmae.training.pretraining import Pretraining

        class Written(list[str]):
            def append(self, what: str) -> None:
                super().append(what)
                os.write(seen, f"{what}\n".encode())

        events = Events(out, at, fault)
        events.seen = Written()
        for kind in (Pretraining, Finetuning):
            events.calls(kind, "loss", "loss")
            events.calls(kind, "validate", "validate")
        sys.addaudithook(events.hear)
        try:
            run()
        except SystemExit as end:
            os._exit(int(end.code or 0))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), heard.read_text().splitlines(), log.read_text()


def main(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Carry out a plan `{"words", "out", "faults": [[number, kind], …]}`; {out} in the words stands for the folder of a try."""
    for name in ("finetuning", "pretraining", "runs"):  # once, before the forks
        import_module(f"cavmae.training.{name}")
    found = []
    for number, (at, fault) in enumerate(plan["faults"]):
        out = Path(plan["out"]) / f"try-{number}"
        words = [word.replace("{out}", str(out)) for word in plan["words"]]
        first = command(words, out, at, fault)
        again = command(words, out) if at else first
        found.append({"at": at, "fault": fault, "out": str(out), "first": first, "again": again})
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
