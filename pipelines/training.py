"""What several pipelines do once the data is in order."""

from typing import Any

from components.average import average
from components.evaluate import evaluate
from components.fetch import fetch
from components.finetune import finetune
from components.package import package
from pipelines.data import Prepared
from pipelines.form import Form
from pipelines.site import Site

FINETUNE_STEPS = ("fetch", "import", "finetune", "average", "evaluate", "package")
FINETUNE_KNOBS = {
    "model": "fetch.source",
    "mode": "finetune.mode",
    "epochs": "finetune.epochs",
    "batch_size": "finetune.batch_size",
    "lr": "finetune.lr",
    "precision": "finetune.precision",
    "device": "finetune.device",
    "seed": "finetune.seed",
    "name": "package.name",
}


def fetched(site: Site, data: Prepared, form: Form) -> Any:
    """Fetch the model to start from, beside the work on the data: a run without one fails in its first minute."""
    settings = data.settings
    task = fetch(
        source=form["model"],
        registry=form.get("registry", ""),
        settings=settings["fetch"],
        import_settings=settings["import_"],
    )
    return site.place(task, "fetch", "fetch model", cached=False)  # another champion may have come


def finetuned(site: Site, data: Prepared, start: Any, form: Form) -> Any:
    """Fine-tune the model `start`, average, evaluate and package; return the task `package`."""
    settings = data.settings
    dataset = {"dataset": data.dataset, "dataset_version": data.version}
    trained = site.place(
        finetune(
            **dataset,
            start=start.outputs["model"],
            start_version=start.outputs["version"],
            settings=settings["finetune"],
            launch=site.launch,
            **{key: form[key] for key in ("mode", "epochs", "batch_size", "lr", "precision", "device", "seed")},
        ),
        "finetune",
    )
    averaged = site.place(
        average(start=trained.outputs["model"], start_version=trained.outputs["Output"], settings=settings["average"]),
        "average",
    )
    model = {"start": averaged.outputs["model"], "start_version": averaged.outputs["Output"]}
    evaluated = site.place(
        evaluate(
            **dataset,
            model=averaged.outputs["model"],
            model_version=averaged.outputs["Output"],
            curves=trained.outputs["curves"],
            device=form["device"],
            settings=settings["evaluate"],
        ),
        "evaluate",
    )
    measured = {"metrics": evaluated.outputs["metrics"], "metrics_version": evaluated.outputs["Output"]}
    return site.place(package(**model, **measured, name=form["name"], settings=settings["package"]), "package")
