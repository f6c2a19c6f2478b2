"""CAV-MAE's own data lists: `{"data": [{"video_id", "wav", "video_path", "labels"}, ...]}`.

`labels` are mids separated by commas. A row that names a wav is used as it was extracted (the wav, and
`<video_path>/frame_<i>/<video_id>.jpg`) where there is a folder `<video_path>/frame_0`; any other is a video: `video_path`
itself, or `<video_path>/<video_id>.<mp4, mkv, webm or avi>`. What lies on S3 is a video always.
"""

from pathlib import Path
from typing import Any

from cavmae.dataset.sources.candidate import ELSEWHERE, Candidate, is_there
from cavmae.dataset.sources.stored import StoredFile, beside
from cavmae.errors import InputError
from cavmae.storage import parse_json, read_json
from cavmae.stores import ahead, is_remote, read_text

_THREADS = 16  # that wait for S3 at once
_ENDINGS = (".mp4", ".mkv", ".webm", ".avi")


def read_official(path: str) -> list[Candidate]:
    """Return the rows of the JSON, a path or a URI, as candidates; relative paths are relative to the JSON's folder."""
    document = parse_json(read_text(path), path) if is_remote(path) else read_json(Path(path))
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f'{path}: expected {{"data": [rows]}} with at least one row')
    remote = is_remote(path) or any(isinstance(row, dict) and is_remote(str(row.get("video_path"))) for row in rows)
    return list(ahead(lambda item: _candidate(path, *item), enumerate(rows), _THREADS if remote else 1))


def _candidate(table: str, number: int, row: Any) -> Candidate:
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
    safe = "/" not in name and "\0" not in name and name not in (".", "..")
    if row.get("video_path") and (is_remote(table) or is_remote(row["video_path"])):
        return _on_s3(beside(table, row["video_path"], where), name if safe else None, name, labels, where)
    wav = Path(table).parent / row["wav"] if row.get("wav") else None
    folder = Path(table).parent / row["video_path"] if row.get("video_path") else None
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


def _on_s3(uri: str, inside: str | None, name: str, labels: tuple[str, ...], where: str) -> Candidate:
    """A clip whose video is the object `uri`, or one called `inside` below it; its name decides which is looked for first."""
    folder = uri.rstrip("/")
    below = [f"{folder}/{inside}{ending}" for ending in _ENDINGS] if inside else []
    places = [folder, *below] if folder.lower().endswith(_ENDINGS) else [*below, folder]
    found = (StoredFile(place, place) for place in places)
    stored = next((there for file in found if file.well_named and (there := file.looked_up())), StoredFile(places[0], places[0]))
    missing = f"The row ({where}) names no video: neither {folder} nor one called {name}.mp4 below it is there."
    return Candidate(name=name, path=ELSEWHERE, labels=labels, where=where, missing=missing, stored=stored)
