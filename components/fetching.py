"""The work of the component `fetch`: the model that training starts from, wherever it lies and whatever wrote it."""

from components.running import failing_in_one_line, run


def fetch_model(source: str, registry: str, settings: str, import_settings: str, model: str) -> str:
    """Write the model folder and say where it came from: the registry's champion where there is one, else `source`.

    A source that is an official checkpoint (.pth) goes through the step `import`. Ends the process where there is no model.
    """
    if source.endswith(".pth") and not _has_champion(registry):
        run("import", import_settings, {"checkpoint": source, "out": model})
        return source
    return str(run("fetch", settings, {"registry": registry or None, "model": model}, {"source": source}))


def _has_champion(registry: str) -> bool:
    from cavmae.models.registries import open_registry

    with failing_in_one_line("fetch"):
        return bool(registry) and open_registry(registry).read_champion() is not None
