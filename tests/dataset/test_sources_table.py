"""A CSV as source: what it may say, and that what is wrong is named with file and row."""

from pathlib import Path

import pytest

from cavmae.dataset.sources import Candidate, read_source
from cavmae.errors import InputError


def candidates(tmp_path: Path, text: str) -> list[Candidate]:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_source(str(tmp_path / "t.csv"))


def test_every_column_is_read(tmp_path: Path) -> None:
    header = "path,labels,split,start,end,group,video_id\n"
    (clip,) = candidates(tmp_path, header + "d/a.mp4,dog; cat;dog,val,1.5,4,g1,my id\n")
    assert clip == Candidate(
        "my id", tmp_path / "d/a.mp4", ("dog", "cat"), f"{tmp_path}/t.csv, row 2", None, 1.5, 4.0, "val", "g1"
    )


def test_the_path_alone_is_enough(tmp_path: Path) -> None:
    (clip,) = candidates(tmp_path, "path\na.mp4\n")
    assert (clip.name, clip.labels, clip.split, clip.start_s, clip.group) == ("a", (), None, None, None)


def test_names_in_use_elsewhere_are_understood(tmp_path: Path) -> None:
    (clip,) = candidates(tmp_path, "video_path,label,split,start_s,end_s\na.mp4,dog,validation,0,1\n")
    assert (clip.path.name, clip.labels, clip.split, clip.end_s) == ("a.mp4", ("dog",), "val", 1.0)


def test_paths_are_relative_to_the_table_or_absolute(tmp_path: Path) -> None:
    clips = candidates(tmp_path, "path\n../a.mp4\n/b/c.mp4\n-x.mp4\n")
    assert [str(clip.path) for clip in clips] == [f"{tmp_path}/../a.mp4", "/b/c.mp4", f"{tmp_path}/-x.mp4"]


def test_columns_that_are_not_used_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    candidates(tmp_path, "path,note,class\na.mp4,x,dog\n")
    assert "columns not used: class, note" in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,labels\na.mp4,dog\n", "row 2: column 'path' is missing; the columns are path,labels"),
        ("path,labels\na.mp4,dog\n,cat\n", "row 3: 'path' is empty"),
        ("path,split\na.mp4,train\nb.mp4,dev\n", "row 3: split 'dev' is none of train, val, test"),
        ("path,start,end\na.mp4,5,5\n", "row 2: end 5 is not behind start 5"),
        ("path,start,end\na.mp4,5,2.5\n", "row 2: end 2.5 is not behind start 5"),
        ("path,end\na.mp4,0\n", "row 2: end 0 is not behind start 0"),
        ("path,start\na.mp4,soon\n", "row 2: start 'soon' is not a number of seconds"),
        ("path,start\na.mp4,nan\n", "row 2: start 'nan' is not a number of seconds"),
        ("path,end\na.mp4,inf\n", "row 2: end 'inf' is not a number of seconds"),
        ("path,start\na.mp4,-1\n", "row 2: start '-1' is not a number of seconds"),
        ("path,labels\na.mp4,dog,cat\n", "row 2: 3 values under 2 columns"),
        ("path,labels\n", "no rows below the header"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_row(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as raised:
        candidates(tmp_path, text)
    assert "t.csv" in str(raised.value) and says in str(raised.value) and "\n" not in str(raised.value)
