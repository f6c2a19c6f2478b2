"""The two ways a command may end badly, and the exit code of each."""


class InputError(Exception):
    """Something the user gave is wrong: a path, a parameter, a label, a file.

    The message says in one line what was wrong, where (file, key, row) and what to do. Exit code 2.
    """

    exit_code = 2


class StepFailed(Exception):
    """The input was in order and the work failed all the same: a gate closed, the loss became NaN. Exit code 1."""

    exit_code = 1


class Interrupted(Exception):
    """The work was asked to stop (SIGTERM) and saved where it is; the same command continues it. Exit code 75."""

    exit_code = 75
