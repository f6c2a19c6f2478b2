"""Ids of clips: safe as keys of a shard, unique, and the same at every run."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cavmae.dataset.identity import video_id


@pytest.mark.parametrize("name", ["dog_00001", "ev_-0pJqpNjft4_000267", "a", "A-b_9"])
def test_a_clean_name_is_kept(name: str) -> None:
    assert video_id(name, "where", set()) == name


@pytest.mark.parametrize(
    "name", ["00W1lcxW-WU_40.000", "sp ace", "-dash", "ümläut ♫", "a/b", "../../etc", "x" * 300, "", "\udcff", "."]
)
def test_an_unsafe_name_gets_a_safe_id_of_its_own(name: str) -> None:
    made = video_id(name, "where", set())
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,90}", made)
    assert made != video_id(name, "elsewhere", set())
    assert made == video_id(name, "where", set())


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=2)), max_size=40))
def test_ids_never_repeat(clips: list[tuple[str, str]]) -> None:
    taken: set[str] = set()
    made = [video_id(name, where, taken) for name, where in clips]
    assert len(set(made)) == len(clips)
    assert set(made) == taken
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in made)


def test_many_clips_of_one_name_and_place_differ() -> None:
    taken: set[str] = set()
    assert len({video_id("a", "same", taken) for _ in range(20)}) == 20


def test_a_name_that_looks_like_another_ones_hash_is_no_collision() -> None:
    taken: set[str] = set()
    hashed = video_id("a b", "where", taken)
    assert video_id(hashed, "other", taken) != hashed
