"""The vocabulary of rejections and notes."""

from pathlib import Path

import pytest

from cavmae.media.clip import NOTES, REASONS, MediaRejected


def test_the_words_of_the_vocabulary_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "quarantine.md").read_text(encoding="utf-8")
    for word in REASONS | NOTES:
        assert f"| `{word}` |" in text


def test_a_word_outside_the_vocabulary_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        MediaRejected("because", "It was raining.")
