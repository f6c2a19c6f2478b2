"""One of the processes that run a step together: does what `cavmae` does, and notes for whoever started them how it ended.

torchrun passes on that a process failed, but neither its exit code nor its words. Nor can it be trusted with ours: it takes
`--start=…` for a short form of an option of its own. So words and endings go through a folder.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from cavmae.cli import main
from cavmae.storage import read_json, write_json

FOLDER = "CAVMAE_PROCESSES"  # environment variable: folder with the command's words, for a note from each process
WORDS = "words"


class _LastLine:
    """A stream that remembers the last line that was written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.line = stream, ""

    def write(self, text: str) -> int:
        self.line = next((line for line in reversed(text.splitlines()) if line.strip()), self.line)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run(folder: Path) -> int:
    """Run the command whose words lie in `folder`, note there how it ended, with the last error that it printed; return its code.

    A process that is killed leaves the note that it began, with `code` null.
    """
    arguments: list[str] = read_json(folder / WORDS)

    def note(code: int | None, message: str) -> None:
        together = int(os.environ["LOCAL_WORLD_SIZE"])
        content = {"together": together, "code": code, "message": message, "time": time.time()}
        write_json(folder / f"{os.environ['LOCAL_RANK']}.json", content)

    note(None, "")
    stream = sys.stderr
    errors = _LastLine(stream)
    sys.stderr = errors
    try:
        code = main(arguments)
    except SystemExit as ended:  # a process that leaves the talking to another
        note(ended.code if isinstance(ended.code, int) else 1, "")
        raise
    except Exception as error:
        note(1, f"{type(error).__name__}: {error}".strip().splitlines()[0])
        raise
    finally:
        sys.stderr = stream
    note(code, errors.line.removeprefix(f"cavmae {arguments[0]}: "))
    return code


if __name__ == "__main__":
    sys.exit(run(Path(os.environ[FOLDER])))
