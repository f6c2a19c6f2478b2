"""Sources and parameters for the tests: files that look like media at sight, tables, and the steps' own defaults."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cavmae.dataset import examining
from cavmae.dataset.collect import collect
from cavmae.dataset.params import ExtractParams, IngestParams
from cavmae.dataset.schema import CLIPS, QUARANTINE, Row, read_rows
from cavmae.dataset.tar import Shard
from cavmae.params import load_section
from cavmae.stores import locate, open_store
from tests.conftest import REPOSITORY
from tests.media.render import film

NOWHERE = Shard(open_store("nowhere"), "no.tar")  # of clips that nobody reads
DEFAULTS = REPOSITORY / "params.yaml"


def ingest_params(*overrides: str) -> IngestParams:
    return load_section(IngestParams, "ingest", DEFAULTS, overrides)


def extract_params(*overrides: str) -> ExtractParams:
    return load_section(ExtractParams, "extract", DEFAULTS, ["frame_size=32", "frames=2", *overrides])


def blob(path: Path, content: object = None) -> Path:
    """A file that is no text, with a content of its own: enough for `ingest`, which decodes nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\1\2" + str(path if content is None else content).encode("utf-8", "surrogateescape"))
    return path


def tiny_film(path: Path, loudness: float = 0.3) -> Path:
    """0.6 s of picture and sound, made in milliseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return film(path, seconds=0.6, fps=5, rate=16000, channels=1, amplitude=loudness)


def table(path: Path, rows: Iterable[Sequence[object]], header: str = "path,labels") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def ingested(source: Path | str, out: Path, *overrides: str) -> tuple[list[Row], list[Row]]:
    """Run the work of `ingest`; return manifest and quarantine."""
    collect(out, ingest_params(f"source={source}", *overrides))
    return list(read_rows(out / "clips.parquet", CLIPS)), list(read_rows(out / "quarantine.parquet", QUARANTINE))


def reasons(quarantine: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """{file name: reason} of quarantine rows."""
    return {Path(row["path"]).name: row["reason"] for row in quarantine}


def upload(bucket: str, folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store, key = locate(f"s3://{bucket}/{path}")
            store.put(key, path)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose content is read from now on."""
    read: list[str] = []
    real = examining.Examination._read
    monkeypatch.setattr(examining.Examination, "_read", lambda self, file: (read.append(file.shown), real(self, file))[1])
    return read


def dvc_object(remote: Path, files: dict[str, bytes]) -> Path:
    """What `dvc push` of a folder leaves on a remote; return the directory object."""
    rows = []
    for relpath, content in files.items():
        md5 = hashlib.md5(content).hexdigest()
        place = remote / "files" / "md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        rows.append({"md5": md5, "relpath": relpath})
    return dvc_list(remote, rows)


def dvc_list(remote: Path, rows: object) -> Path:
    listed = json.dumps(rows, sort_keys=True).encode()
    md5 = hashlib.md5(listed).hexdigest()
    place = remote / "files" / "md5" / md5[:2] / f"{md5[2:]}.dir"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(listed)
    return place
