"""What processes do together, and how one of them ends when another is gone."""

import re
from collections.abc import Callable
from typing import Any

from cavmae.errors import StepFailed


class OtherFailed(StepFailed):
    """This process did nothing wrong, and cannot go on without another one."""


def together(operation: Callable[..., Any], *arguments: Any) -> None:
    """Do what all processes do together, an operation of torch.distributed; raises OtherFailed where one of them does not."""
    try:
        operation(*arguments)
    except RuntimeError as error:
        reason = first_line(error)
        raise OtherFailed(f"another process of this training failed or is gone; its own log says why ({reason})") from None


def first_line(error: Exception) -> str:
    """The first sentence of an error of torch's, without the source file that it comes from."""
    sentence = re.sub(r"^\[[^\]]*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
    return sentence[:200] or type(error).__name__
