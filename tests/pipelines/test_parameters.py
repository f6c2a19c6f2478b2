"""The form of a compiled pipeline, and what may be put into it."""

from pathlib import Path

import pytest

from cavmae.errors import InputError
from pipelines.parameters import FormField, parse_values, read_form


def test_the_form_of_a_compiled_pipeline(toy: Path) -> None:
    form = read_form(toy)
    assert {name: field.kind for name, field in form.items()} == {
        "source": str,
        "parts": int,
        "lr": float,
        "fast": bool,
        "items": list,
        "extra": dict,
        "source_version": str,
        "model": str,
        "secret": str,
    }
    assert [name for name, field in form.items() if not field.optional] == ["source"]


def test_values_of_every_type(toy: Path) -> None:
    words = ["source=a=b c", "parts= 12", "lr=1e-3", "fast=FALSE", 'items=[1, "x"]', 'extra={"a": null}', "model="]
    assert parse_values(words, read_form(toy), "p") == {
        "source": "a=b c",
        "parts": 12,
        "lr": 0.001,
        "fast": False,
        "items": [1, "x"],
        "extra": {"a": None},
        "model": "",
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("sorce=x", r"has no field 'sorce'; did you mean 'source'\? its fields: .*source"),
        ("=x", "has no field ''"),
        ("parts", "key=value"),
        ("parts=3.0", "a whole number"),
        ("parts=", "a whole number"),
        ("parts=1_000", "a whole number"),
        ("parts=99999999999999999999", "a whole number"),
        ("parts=true", "a whole number"),
        ("lr=nan", "a number"),
        ("lr=-inf", "a number"),
        ("lr=1e999", "a number"),
        ("lr=fast", "a number"),
        ("fast=1", "true or false"),
        ("items={}", "a JSON list"),
        ("items=[NaN]", "a JSON list"),
        ("items=" + "[" * 100_000, "a JSON list"),
        ("extra=[]", "a JSON object"),
        ("extra=x", "a JSON object"),
    ],
)
def test_what_does_not_fit_is_named(toy: Path, word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_values(["source=x", word], read_form(toy), "p")


def test_what_is_missing_is_named(toy: Path) -> None:
    with pytest.raises(InputError, match="cavmae-retrain: give -p for source; these fields have no default"):
        parse_values(["parts=3"], read_form(toy), "cavmae-retrain")


def test_what_is_given_twice_is_named(toy: Path) -> None:
    with pytest.raises(InputError, match="'source' was given twice"):
        parse_values(["source=x", "source=x"], read_form(toy), "p")


def test_a_value_that_is_not_among_the_allowed() -> None:
    form = {"mode": FormField(str, True, ("audio", "video"))}
    assert parse_values(["mode=audio"], form, "p") == {"mode": "audio"}
    with pytest.raises(InputError, match="one of audio, video"):
        parse_values(["mode=both"], form, "p")


@pytest.mark.parametrize(
    "content", ["", "- a", "root: 3", "a: [", "root: {inputDefinitions: {parameters: {x: {parameterType: NEW}}}}", "\x00"]
)
def test_a_file_that_is_no_compiled_pipeline(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match="no compiled pipeline"):
        read_form(path)
