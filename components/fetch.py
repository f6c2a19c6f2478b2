"""Component of the step `fetch`."""

from typing import NamedTuple

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def fetch(
    source: str,
    registry: str,
    settings: str,
    import_settings: str,
    model: dsl.Output[dsl.Model],
) -> NamedTuple("Fetched", [("version", str), ("origin", str)]):
    """Bring the model that training starts from: the registry's champion, or the one that is given.

    Args:
        source: Model folder or official checkpoint, as in fetch.source; empty where the registry has a champion.
        registry: Folder or s3:// of the registry, whose champion is taken where there is one; empty for none.
        settings: The other parameters, from the component check.
        import_settings: What the shapes of an official checkpoint do not say, from the component check.

    Returns:
        model: The model folder.
        version: Hash of the model.
        origin: Where it came from.
    """
    from components.fetching import fetch_model
    from components.running import version_of

    origin = fetch_model(source, registry, settings, import_settings, model.path)
    return (version_of(model.path), origin)
