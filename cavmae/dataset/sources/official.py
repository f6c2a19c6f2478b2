"""CAV-MAE's own data lists: `{"data": [{"video_id", "wav", "video_path", "labels"}, ...]}`.

`labels` are mids separated by commas. A row that names a wav is used as it was extracted (the wav, and
`<video_path>/frame_<i>/<video_id>.jpg`) where there is a folder `<video_path>/frame_0`; any other is a video: `video_path`
itself, or `<video_path>/<video_id>.<mp4, mkv, webm or avi>`.
"""

from pathlib import Path
from typing import Any

from cavmae.dataset.sources.candidate import Candidate, is_there
from cavmae.errors import InputError
from cavmae.storage import read_json

_ENDINGS = (".mp4", ".mkv", ".webm", ".avi")


def read_official(path: Path) -> list[Candidate]:
    """Return the rows of the JSON as candidates; relative paths are relative to the JSON's folder."""
    document = read_json(path)
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f'{path}: expected {{"data": [rows]}} with at least one row')
    return [_candidate(path, number, row) for number, row in enumerate(rows)]


def _candidate(table: Path, number: int, row: Any) -> Candidate:
    where = f"{table}, row {number}"
    if not isinstance(row, dict) or not isinstance(row.get("video_id"), str) or not row["video_id"]:
        raise InputError(f"{where}: 'video_id' is missing")
    for key in ("wav", "video_path", "labels"):
        if not isinstance(row.get(key, ""), str):
            raise InputError(f"{where}: '{key}' is not text")
    for key in ("video_id", "wav", "video_path", "labels"):
        if not row.get(key, "").isprintable() and any("\ud800" <= letter <= "\udfff" for letter in row[key]):
            raise InputError(f"{where}: '{key}' holds half of a two-part character; write the JSON anew as UTF-8")
    name = row["video_id"]
    labels = tuple(dict.fromkeys(mid.strip() for mid in row.get("labels", "").split(",") if mid.strip()))
    wav = table.parent / row["wav"] if row.get("wav") else None
    folder = table.parent / row["video_path"] if row.get("video_path") else None
    safe = "/" not in name and "\0" not in name and name not in (".", "..")
    if wav is not None and folder is not None and safe and is_there(folder / "frame_0"):
        return Candidate(name=name, path=wav, frames=folder, labels=labels, where=where, start_s=0.0)
    if folder is None:
        raise InputError(f"{where}: 'video_path' is missing")
    video, missing = folder, None
    if safe and (not is_there(folder) or folder.is_dir()):
        inside = [folder / f"{name}{ending}" for ending in _ENDINGS]
        video = next((path for path in inside if is_there(path)), inside[0])
        sound = "a sound" if wav is None else "pictures for its sound"
        missing = f"The row ({where}) has neither {sound} in {folder / 'frame_0'} nor a video {name}.mp4 in {folder}."
    return Candidate(name=name, path=video, labels=labels, where=where, missing=missing)
