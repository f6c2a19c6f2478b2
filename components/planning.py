"""The work of the component `plan`."""

from pathlib import Path

from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.errors import InputError
from components.running import check_version, failing_in_one_line


def plan_parts(clips: str, version: str, parts: int) -> list[str]:
    """Return `1/n` to `n/n`, where n is `parts`, or the manifest's number of shards where it has fewer."""
    with failing_in_one_line("plan"):
        if parts < 1:
            raise InputError(f"parts is {parts}; give 1 or more")
        check_version(Path(clips), version)
        shards = {row["shard"] for row in read_rows(Path(clips) / "clips.parquet", CLIPS)}
    count = min(parts, len(shards))
    return [f"{part}/{count}" for part in range(1, count + 1)]
