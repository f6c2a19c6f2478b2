"""Names of the clips to inpaint: safe, unique, and none depends on what else is asked for, or in which order."""

import os
from pathlib import Path

import pytest

from cavmae.evaluation.inpainting_sources import Source, as_text, from_dataset, from_files
from cavmae.media.clip import MediaRejected
from cavmae.models.folder import read_config
from tests.training.tiny import tiny

ODD = ["-dash.mp4", "sp ace Ünï.mp4", os.fsdecode(b"caf\xe9.mp4"), '<b>&".mp4', "..mp4", "a/../b.mp4", "index.html.mp4", "♫.mp4"]


def sources(*paths: str) -> list[Source]:
    return from_files([Path(path) for path in paths], read_config(tiny().pretrained))


@pytest.mark.parametrize("path", ODD)
def test_every_name_becomes_a_safe_folder(path: str) -> None:
    (source,) = sources(path)
    assert source.name.isascii() and source.name.replace("-", "").replace("_", "").isalnum()
    assert not source.name.startswith("-") and source.name not in ("index", "losses")
    source.path.encode("utf-8")
    source.key.encode("utf-8")


def test_a_clean_name_is_kept_and_a_path_given_twice_counts_once() -> None:
    assert [source.name for source in sources("x/dog_1.mp4", "x/cat.mkv", "./x/cat.mkv")] == ["dog_1", "cat"]


def test_files_of_one_name_get_folders_of_their_own_in_whatever_order_they_come() -> None:
    paths = ["x/cat.mp4", "y/cat.mp4", "y/cat.mkv", "z/Cat.mp4", "z/dog.mp4"]
    names = {source.path: source.name for source in sources(*paths)}
    assert len({name.casefold() for name in names.values()}) == 5 and names["z/dog.mp4"] == "dog"
    assert {source.path: source.name for source in sources(*paths[::-1])} == names
    # on some disks these two would be one folder
    assert len({source.name.casefold() for source in sources("x/Cat.mp4", "z/CAT.mp4")}) == 2


def test_masks_are_drawn_by_the_name_wherever_the_file_lies() -> None:
    alone, *together = [*sources("x/cat.mp4"), *sources("y/cat.mp4", "z/cat.mp4")]
    assert {source.key for source in together} == {alone.key} == {"cat"}


def test_clips_of_a_data_set_are_read_at_the_models_size() -> None:
    from cavmae.dataset.loader import ClipSet

    config = read_config(tiny().pretrained)
    clips = ClipSet(tiny().dataset).split("test")[:2]
    found = from_dataset(clips, config)
    assert [source.name for source in found] == [source.key for source in found] == [clip.video_id for clip in clips]
    raw = found[1].read()
    assert raw.frames.shape == (1, 32, 32, 3) and raw.waveform.shape == (1, config.fbank.max_samples)


def test_a_file_that_is_none_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film at all")
    (source,) = from_files([tmp_path / "text.mp4"], read_config(tiny().pretrained))
    with pytest.raises(MediaRejected, match="not_media"):
        source.read()


def test_text_that_is_none_becomes_text() -> None:
    assert as_text(os.fsdecode(b"caf\xe9")) == "caf�" and as_text(Path("Ünï")) == "Ünï"
