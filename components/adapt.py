"""Component of the step `adapt`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def adapt(
    dataset: dsl.Input[dsl.Dataset],
    dataset_version: str,
    checkpoint: str,
    settings: str,
    model: dsl.Output[dsl.Model],
) -> str:
    """Make the first model, from a vision-MAE checkpoint or random weights.

    Args:
        dataset: The validated data set.
        dataset_version: Hash of the data set.
        checkpoint: Vision-MAE weights, as in adapt.checkpoint; empty for random ones.
        settings: The other parameters, from the component check.

    Returns:
        model: The first model.
        Output: Hash of the model.
    """
    from components.running import run, version_of

    paths = {"dataset": dataset.path, "model": model.path}
    run("adapt", settings, paths, {"checkpoint": checkpoint}, {"dataset": dataset_version})
    return version_of(model.path)
