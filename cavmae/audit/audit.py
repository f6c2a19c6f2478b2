"""The audit of a model: its files, its line, its data, its parameters, its code, and what dvc.lock says of all of them."""

from pathlib import Path

from cavmae.audit.code import check_code
from cavmae.audit.data import check_data
from cavmae.audit.findings import Audit
from cavmae.audit.line import Link, read_line
from cavmae.audit.locked import check_outputs, read_stages
from cavmae.audit.models import check_model
from cavmae.audit.parameters import check_parameters
from cavmae.errors import InputError
from cavmae.models.files import LINEAGE
from cavmae.storage import read_json

RUN = "run.json"


def audit_model(model: Path, dataset: Path, params: Path, registry: str | None, sources: bool = True) -> Audit:
    """Walk the lineage of a model folder and work out every hash that it names and that can be reached from here.

    `dataset` is the folder that the line's data set is expected in, `params` the parameter file that it is compared with,
    `registry` where its versions are kept, None for none. Without `sources` the videos are not read. Raises InputError where
    `model` is no model folder with a lineage; a lineage that is damaged is a finding.
    """
    if not (model / LINEAGE).is_file():
        raise InputError(f"{model}: holds no {LINEAGE}; name a model folder, as `package` or any training step writes it")
    audit = Audit(str(model))
    line, stages = _line(audit, model), read_stages(audit)
    check_model(audit, model, line, registry, stages)
    if line:
        check_data(audit, line, dataset, sources)
        check_parameters(audit, line, params, stages)
        check_code(audit, line)
    check_outputs(audit, stages)
    _tell_circumstances(audit, model, line)
    return audit


def _line(audit: Audit, model: Path) -> list[Link]:
    """The line of the model; none where its lineage is damaged, which is a finding then."""
    try:
        return read_line(model)
    except (InputError, RecursionError) as error:
        place = str(model / LINEAGE)
        audit.add("model", place, "broken", str(error).removeprefix(f"{place}: "))
        return []


def _tell_circumstances(audit: Audit, model: Path, line: list[Link]) -> None:
    """What nothing can be held against: who, when, where, by which packages and image."""
    path = model / RUN
    if path.is_file():
        try:
            run = read_json(path)
            said = ", ".join(f"{key} {run[key]}" for key in ("user", "host", "finished", "run_id"))
            audit.add("circumstances", str(path), "claimed", said)
        except (InputError, KeyError, TypeError):
            audit.add("circumstances", str(path), "broken", "does not say who made the model, when and where")
    for link in line:
        if link.lineage.image:
            audit.add("circumstances", f"image of {link.lineage.step}", "claimed", link.lineage.image)
    if not line:
        return
    packages = sorted({f"{name} {number}" for link in line for name, number in link.lineage.packages.items()})
    audit.add("circumstances", "packages", "claimed", ", ".join(packages) or "none are named")
