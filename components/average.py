"""Component of the step `average`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def average(start: dsl.Input[dsl.Model], start_version: str, settings: str, model: dsl.Output[dsl.Model]) -> str:
    """Average the weights of the last epochs.

    Args:
        start: The classifier, with the weights of its last epochs.
        start_version: Hash of that model.
        settings: The parameters, from the component check.

    Returns:
        model: The averaged model.
        Output: Hash of the model.
    """
    from components.running import run, version_of

    run("average", settings, {"start": start.path, "model": model.path}, {}, {"start": start_version})
    return version_of(model.path)
