"""Component of the step `finetune`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def finetune(
    dataset: dsl.Input[dsl.Dataset],
    dataset_version: str,
    start: dsl.Input[dsl.Model],
    start_version: str,
    mode: str,
    epochs: int,
    batch_size: int,
    lr: float,
    precision: str,
    device: str,
    seed: int,
    settings: str,
    launch: str,
    model: dsl.Output[dsl.Model],
    curves: dsl.Output[dsl.Artifact],
    events: dsl.Output[dsl.Artifact],
    last_epoch: dsl.Output[dsl.Metrics],
    learning: dsl.Output[dsl.HTML],
) -> str:
    """Fine-tune on the labels, from both modalities or from one. A retry continues from the last checkpoint.

    Args:
        dataset: The validated data set; its shards are read from the store.
        dataset_version: Hash of the data set.
        start: The model to start from.
        start_version: Hash of that model.
        mode: multimodal, audioonly, videoonly, missingaudioonly or missingvideoonly.
        epochs: Passes over the train split.
        batch_size: Clips a step, over all GPUs together.
        lr: Highest learning rate.
        precision: float32, or bf16 autocast.
        device: cpu or cuda.
        seed: Of order, frames and augmentation.
        settings: The other parameters, from the component check.
        launch: How many processes on how many nodes, as JSON, from the settings file.

    Returns:
        model: The classifier, with the weights of its last epochs.
        curves: Learning curves as a table.
        events: Learning curves for TensorBoard.
        last_epoch: Figures of the last epoch.
        learning: Learning curves as a page.
        Output: Hash of the model.
    """
    from components.running import train, version_of
    from components.showing import show_learning

    paths = {
        "dataset": dataset.path,
        "start": start.path,
        "model": model.path,
        "curves": curves.path,
        "events": events.path,
    }
    values = {
        "mode": mode,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
        "device": device,
        "seed": seed,
    }
    train("finetune", settings, paths, values, {"dataset": dataset_version, "start": start_version}, launch)
    show_learning("finetune", curves.path, last_epoch, learning.path)
    return version_of(model.path)
