"""What a cache of shards holds, counted by its tests."""

from contextlib import suppress
from pathlib import Path

from cavmae.dataset.shard_cache import Need, ShardCache
from cavmae.dataset.tar import Shard
from cavmae.locking import holding
from tests.dataset.remote import Remote

SIZE = 1000


def in_turn(shards: list[Shard]) -> list[Need]:
    """Batch number n needs shard number n alone."""
    return [Need(shard, number, number) for number, shard in enumerate(shards)]


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.tar"))


def taken(cache: ShardCache, remote: Remote) -> int:
    """Bytes of all files and of what is being read, at a moment when nothing is given room or removed."""
    with holding(cache.folder):
        sizes = {name.removesuffix(".tar"): SIZE for name in list(remote.reading)}
        for path in cache.folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix in (".tar", ".partial"):
                    name = path.name.rsplit("-", 1)[0]
                    sizes[name] = max(sizes.get(name, 0), path.stat().st_size)
    return sum(sizes.values())


def content(cache: ShardCache, shard: Shard) -> bytes | None:
    path = cache.path(shard)
    return None if path is None else path.read_bytes()
