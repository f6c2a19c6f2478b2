"""A prefix on S3 as source; the first level below it gives the labels, as the sub-folders of a folder do."""

import logging

from cavmae.dataset.sources.candidate import ELSEWHERE, Candidate
from cavmae.dataset.sources.stored import StoredFile, is_hidden, label_of, stem_of
from cavmae.errors import InputError
from cavmae.stores import S3, locate

log = logging.getLogger(__name__)


def read_prefix(source: str) -> list[Candidate]:
    """Return every object below `s3://bucket/prefix` as a candidate, in sorted order; hidden ones are passed over.

    Objects directly below have no label. Raises InputError where there is no object at all.
    """
    bucket = f"{S3}{source.removeprefix(S3).partition('/')[0]}"
    store, prefix = locate(source if source.endswith("/") else f"{source}/")
    candidates = []
    for entry in store.entries(prefix):
        relative = entry.name.removeprefix(prefix)
        if relative.endswith("/") or not relative or is_hidden(relative):
            continue  # consoles write an object `folder/` for every folder that is made in them
        uri = f"{bucket}/{entry.name}"
        stored = StoredFile(uri, uri, entry.size, entry.mark)
        candidates.append(Candidate(stem_of(relative), ELSEWHERE, label_of(relative), uri, stored=stored))
    if not candidates:
        if prefix.rstrip("/") and store.size(prefix.rstrip("/")) is not None:
            raise InputError(f"source {source}: is a single object; give a prefix, a .csv, a .json or a DVC directory object")
        raise InputError(f"source {source}: there is no object below it; give the prefix that the videos lie under")
    return sorted(candidates, key=lambda candidate: str(candidate.where).encode("utf-8", "surrogatepass"))
