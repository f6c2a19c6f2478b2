"""Step `export`: a model for other programs: ONNX, or the original's own checkpoint."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cavmae.models.export_params import ExportParams
from cavmae.steps.step import Artifact, Step

if TYPE_CHECKING:
    from cavmae.models.cavmae import CAVMAE
    from cavmae.models.cavmaeft import CAVMAEFT
    from cavmae.models.folder import ModelConfig

log = logging.getLogger(__name__)
_GRAPH, _FACTS = "model.onnx", "export.json"


def export_model(model: Path, out: Path, params: ExportParams) -> None:
    """Write a model folder as an ONNX graph, or as the original's checkpoint.

    An ONNX graph is run and compared with torch before the folder takes its place; one that disagrees raises StepFailed.
    Raises InputError where the original cannot represent the model, where a package is missing, or where `out` holds
    something else than an earlier export.
    """
    import torch

    from cavmae.models.export_official import CHECKPOINT, LABELS, check_official, official_facts, write_official
    from cavmae.models.files import LINEAGE
    from cavmae.models.folder import read_config, read_model
    from cavmae.models.lineage import lineage_of
    from cavmae.models.onnx_file import require_packages
    from cavmae.models.onnx_graph import choose_mode
    from cavmae.outputs import Written, check_replaceable, lineage_says
    from cavmae.storage import replace_folder, sha256_file, write_json

    names = (_GRAPH, f"{_GRAPH}.data", CHECKPOINT, LABELS, _FACTS, LINEAGE)
    check_replaceable(out, (model,), Written("export", names, lineage_says("export")))
    config = read_config(model)
    if params.format == "official":
        check_official(config, model)
    else:
        require_packages()
        choose_mode(config, params.mode)
    torch.set_num_threads(params.threads)
    config, network = read_model(model)
    lineage = lineage_of("export", params, None, {"model": model})
    with replace_folder(out) as partial:
        if params.format == "official":
            state = network.state_dict()
            files = write_official(partial, config, state)
            facts: dict[str, Any] = {"official": official_facts(config, state)}
        else:
            lineage["packages"] |= {name: version(name) for name in ("onnx", "onnxscript")}
            files, facts = _write_onnx(partial, config, network, lineage["parents"]["model"]["files"], params)
        facts |= {"format": params.format, "files": {file.name: sha256_file(file) for file in files}}
        write_json(partial / _FACTS, facts | {"config": config.model_dump(mode="json", exclude_none=True)})
        write_json(partial / LINEAGE, lineage)
    log.info("export: %s -> %s", model, out / files[0].name)


def _write_onnx(
    folder: Path, config: "ModelConfig", network: "CAVMAE | CAVMAEFT", source: dict[str, str], params: ExportParams
) -> tuple[list[Path], dict[str, Any]]:
    from cavmae.models.onnx_facts import as_metadata, onnx_facts
    from cavmae.models.onnx_file import check_onnx, write_onnx
    from cavmae.models.onnx_graph import Graph, choose_mode

    graph = Graph(network, config, choose_mode(config, params.mode), params.features)
    facts = onnx_facts(graph, source, params.opset)
    log.info("export: tracing the model; the base model takes a minute")
    files = write_onnx(folder / _GRAPH, graph, params.opset, as_metadata(facts))
    difference = check_onnx(files[0], graph, params.threads)
    log.info("export: the graph agrees with torch: largest relative difference %.1e", difference)
    return files, {"onnx": facts}


STEP = Step(
    function=export_model,
    params=ExportParams,
    inputs=(Artifact("model", "models/final", "model folder"),),
    outputs=(Artifact("out", "models/exported", "folder for what is written"),),
    image="train",
    cpu=2,
    memory_gb=8,
    in_pipeline=False,
    command="export",
)
