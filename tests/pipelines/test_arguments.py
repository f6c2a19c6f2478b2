"""`-p key=value`."""

from typing import Any

import pytest

from cavmae.errors import InputError
from pipelines.arguments import kinds_of, parse_arguments

KINDS: dict[str, type] = {"epochs": int, "lr": float, "source": str, "fast": bool}


def test_values_get_the_type_of_their_field() -> None:
    found = parse_arguments(["epochs=3", "lr=1e-3", "source=a=b", "fast=true"], KINDS, "x")
    assert found == {"epochs": 3, "lr": 0.001, "source": "a=b", "fast": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["epochs"], "key=value"),
        (["epoch=3"], "fields: epochs, lr"),
        (["epochs=3.5"], "whole number"),
        (["lr=fast"], "a number"),
        (["fast=perhaps"], "true or false"),
        (["epochs=1", "epochs=2"], "twice"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_arguments(words, KINDS, "x")


def test_kinds_come_from_the_function() -> None:
    def function(epochs: int, source: str) -> None: ...

    found: dict[str, Any] = kinds_of(function)
    assert found == {"epochs": int, "source": str}
