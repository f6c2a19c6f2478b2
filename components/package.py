"""Component of the step `package`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def package(
    start: dsl.Input[dsl.Model],
    start_version: str,
    metrics: dsl.Input[dsl.Artifact],
    metrics_version: str,
    name: str,
    settings: str,
    model: dsl.Output[dsl.Model],
    card: dsl.Output[dsl.Markdown],
) -> str:
    """Put the final model folder together: weights, configuration, lineage, figures, and a model card.

    Args:
        start: The classifier.
        start_version: Hash of that model.
        metrics: What evaluate measured.
        metrics_version: Hash of those figures.
        name: Title of the model card.
        settings: The other parameters, from the component check.

    Returns:
        model: The final model.
        card: Its card.
        Output: Hash of the model.
    """
    from components.running import run, version_of
    from components.showing import show_card

    paths = {"start": start.path, "metrics": metrics.path, "model": model.path}
    versions = {"start": start_version, "metrics": metrics_version}
    run("package", settings, paths, {"name": name}, versions)
    show_card(model.path, card.path)
    return version_of(model.path)
