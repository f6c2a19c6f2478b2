"""A task that runs a command of the project and can be stopped."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from dags.project import Command, Project


class CavmaeOperator(BaseOperator):
    """Run `python WORDS` in the project's checkout; the task's result is what it prints.

    A task that is stopped, by a person or a timeout, asks the command to stop: a training then saves its state, and the next try
    goes on from there.
    """

    template_fields: Sequence[str] = ("words", "environment")

    def __init__(self, *, words: Sequence[str], environment: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.words, self.environment = list(words), dict(environment or {})
        self._command: Command | None = None

    def execute(self, context: Context) -> str:
        """Run it."""
        words = [word for word in self.words if word]
        self._command = Command(Project.of_variables(), words, self.environment, self.log.info)
        try:
            return self._command.output(self.log.info).strip()
        finally:
            self._command.stop()

    def on_kill(self) -> None:
        """Stop it."""
        if self._command is not None:
            self._command.stop()
