"""Which kind of registry lies at a location."""

from pathlib import Path

from cavmae.errors import InputError
from cavmae.models.registry import Registry
from cavmae.stores import is_remote, open_store


def open_registry(location: str) -> Registry:
    """Return the registry in a folder or at `s3://bucket/prefix`, which need not be there yet.

    Raises InputError where something else is, or where the place cannot be read.
    """
    if is_remote(location):
        from cavmae.models.registry_store import StoreRegistry

        shared = StoreRegistry(open_store(location))
        shared.check()
        return shared
    from cavmae.models.registry_folder import FolderRegistry

    if "://" in location or location.startswith("s3:"):
        raise InputError(f"{location}: is no place for a registry; give a folder or s3://bucket/prefix")
    local = FolderRegistry(Path(location))
    local.check()
    return local
