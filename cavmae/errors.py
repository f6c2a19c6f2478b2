"""The two ways a command may end badly, and the exit code of each."""

import errno


class InputError(Exception):
    """Something the user gave is wrong: a path, a parameter, a label, a file.

    The message says in one line what was wrong, where (file, key, row) and what to do. Exit code 2.
    """

    exit_code = 2


class StepFailed(Exception):
    """The input was in order and the work failed all the same: a gate closed, the loss became NaN. Exit code 1."""

    exit_code = 1


class Interrupted(Exception):
    """The work was asked to stop and saved where it is; the same command continues it. Exit code 75, after Ctrl-C 130."""

    exit_code = 75

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def explain(error: OSError) -> str:
    """One line about what the system refused: which file, why, and what to do where that is known."""
    where = f"{error.filename}: " if error.filename else ""
    hint = _HINTS.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{hint}"


_HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space and run the same command to continue")
