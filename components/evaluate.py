"""Component of the step `evaluate`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def evaluate(
    dataset: dsl.Input[dsl.Dataset],
    dataset_version: str,
    model_version: str,
    device: str,
    settings: str,
    metrics: dsl.Output[dsl.Artifact],
    plots: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    figures: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    model: dsl.Input[dsl.Model] = None,
    pretrained: dsl.Input[dsl.Model] = None,
    curves: dsl.Input[dsl.Artifact] = None,
) -> str:
    """Measure a classifier, or the retrieval of a pretrained model, on the test split.

    Args:
        dataset: The validated data set; its shards are read from the store.
        dataset_version: Hash of the data set.
        model_version: Hash of the model that is measured.
        device: cpu or cuda.
        settings: The other parameters, from the component check.
        model: A classifier.
        pretrained: A pretrained model, for retrieval.
        curves: Learning curves, for the report.

    Returns:
        metrics: All figures, as JSON.
        plots: Confusion, curves, and the scores of every clip.
        report: The report for people.
        figures: The figures that matter most.
        classification: Confusion matrix, and the ROC curve over all classes.
        Output: Hash of the figures.
    """
    from components.running import evaluate_one, version_of
    from components.showing import show_evaluation

    given = {"dataset": dataset, "model": model, "pretrained": pretrained, "curves": curves}
    made = {"metrics": metrics.path, "plots": plots.path, "report": report.path}
    evaluate_one(settings, given, made, {"device": device}, {"dataset": dataset_version}, model_version)
    show_evaluation(metrics.path, plots.path, dataset.path, figures, classification)
    return version_of(metrics.path)
