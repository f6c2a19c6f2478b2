"""ONNX graphs, run by ONNX Runtime, against what the project computes with torch, on batches unlike the traced one."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cavmae.errors import InputError, StepFailed
from cavmae.evaluation.inference import score_batch
from cavmae.features.front_end import FrontEnd
from cavmae.features.images import normalise_images
from cavmae.models import onnx_file
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT, MODES
from cavmae.models.onnx_file import check_onnx, write_onnx
from cavmae.models.onnx_graph import Graph, allowed_modes, choose_mode
from tests.models.exported import clips, config, network
from tests.training.tiny import REPOSITORY

BATCHES = ([5000], [11_000, 4000, 399])  # samples of the clips; the last is shorter than one frame
# float32 sums in another order differ by about 1e-6; probabilities and vectors here are of the order of 1
TOLERANCE = 1e-4


def run(path: Path, graph: Graph, raw: object) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: value.numpy() for name, value in graph.feed(raw).items()}
    assert {entry.name for entry in session.get_inputs()} == set(given)
    names = [entry.name for entry in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def case(mode: str, features: str, opset: int = 18, slow: bool = True) -> object:
    return pytest.param(mode, features, opset, id=f"{mode}-{features}-{opset}", marks=[pytest.mark.slow] if slow else [])


FAST = (("multimodal", "inside"), ("missingaudioonly", "outside"), ("videoonly", "inside"))


@pytest.mark.parametrize(
    ("mode", "features", "opset"),
    [
        case(mode, features, slow=(mode, features) not in FAST)
        for mode, features in itertools.product(MODES, ("inside", "outside"))
    ]
    + [case("multimodal", "inside", opset) for opset in (19, 20, 21, 22, 23, 24)],
)
def test_a_classifier_scores_as_in_torch(tmp_path: Path, mode: str, features: str, opset: int) -> None:
    single = features == "inside"  # softmax in one half of the cases, sigmoid in the other
    shape = config(mode, single_label=single)
    model = network(shape)
    graph = Graph(model, shape, mode, features)
    (path,) = write_onnx(tmp_path / "model.onnx", graph, opset, {"cavmae.mode": mode})
    assert path == tmp_path / "model.onnx" and check_onnx(path, graph, threads=1) < TOLERANCE
    for lengths in BATCHES:
        raw = clips(shape, lengths)
        got = run(path, graph, raw)
        want = score_batch(model, shape, raw, raw.frames.unsqueeze(1), mode).numpy()
        assert got["scores"].shape == got["logits"].shape == (len(lengths), 3)
        np.testing.assert_allclose(got["scores"], want, atol=TOLERANCE, rtol=0)
        logits = torch.from_numpy(got["logits"])
        again = logits.softmax(dim=1) if single else logits.sigmoid()
        np.testing.assert_allclose(got["scores"], again.numpy(), atol=1e-6, rtol=0)
        assert len(lengths) == 1 or np.abs(got["scores"][0] - got["scores"][1]).max() > 1e-3  # the inputs matter


@pytest.mark.parametrize(
    ("mode", "features"),
    [
        ("multimodal", "inside"),
        pytest.param("multimodal", "outside", marks=pytest.mark.slow),
        pytest.param("audioonly", "inside", marks=pytest.mark.slow),
        pytest.param("videoonly", "outside", marks=pytest.mark.slow),
    ],
)
def test_a_pretrained_model_gives_the_vectors_that_retrieval_compares(tmp_path: Path, mode: str, features: str) -> None:
    shape = config(None)
    model = network(shape)
    assert isinstance(model, CAVMAE)
    graph = Graph(model, shape, mode, features)
    (path,) = write_onnx(tmp_path / "model.onnx", graph, 18, {})
    front_end = FrontEnd(shape.fbank, shape.normalisation.mean, shape.normalisation.std)
    for lengths in BATCHES:
        raw = clips(shape, lengths)
        with torch.no_grad():
            a, v = model.forward_feat(front_end.audio(raw), normalise_images(raw.frames))
        want = {"audio": a.mean(dim=1).numpy(), "video": v.mean(dim=1).numpy()}
        got = run(path, graph, raw)
        assert set(got) == {"multimodal": {"audio", "video"}, "audioonly": {"audio"}, "videoonly": {"video"}}[mode]
        for name, vectors in got.items():
            assert vectors.shape == (len(lengths), 16)
            np.testing.assert_allclose(vectors, want[name], atol=TOLERANCE, rtol=0)
    assert not [value.name for value in onnx.load(path).graph.initializer if "decoder" in value.name]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph]:
    """The smallest graph: pictures to labels."""
    shape = config("videoonly")
    graph = Graph(network(shape), shape, "videoonly", "outside")
    (path,) = write_onnx(tmp_path_factory.mktemp("onnx") / "model.onnx", graph, 18, {"cavmae.note": "Ü"})
    return path, graph


def test_the_file_is_valid_carries_its_metadata_and_tells_nothing_of_the_machine(pictures: tuple[Path, Graph]) -> None:
    path, _ = pictures
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    assert model.ir_version == 8  # which came with opset 18
    assert {entry.key: entry.value for entry in model.metadata_props} == {"cavmae.note": "Ü"}
    (images,) = model.graph.input
    assert [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim] == ["batch", 3, 32, 32]
    content = path.read_bytes()
    assert str(REPOSITORY).encode() not in content and b".py" not in content


def test_the_same_model_gives_the_same_bytes(pictures: tuple[Path, Graph], tmp_path: Path) -> None:
    path, graph = pictures
    again = Graph(network(graph.config), graph.config, "videoonly", "outside")
    write_onnx(tmp_path / "other.onnx", again, 18, {"cavmae.note": "Ü"})
    assert (tmp_path / "other.onnx").read_bytes() == path.read_bytes()


def test_a_graph_that_computes_something_else_is_noticed(pictures: tuple[Path, Graph], tmp_path: Path) -> None:
    path, graph = pictures
    model = onnx.load(path)
    bias = next(value for value in model.graph.initializer if value.name.endswith("mlp_head.1.bias"))
    bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + np.float32([0.01, 0, 0])).tobytes()
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(StepFailed, match=r"'scores' differs from torch by 2.*e-03 on a batch of 1, more than 1e-04"):
        check_onnx(tmp_path / "model.onnx", graph, threads=1)


def test_weights_too_large_for_one_file_stand_in_a_second_one(
    pictures: tuple[Path, Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "_LARGEST_WEIGHTS", 1000)
    _, graph = pictures
    files = write_onnx(tmp_path / "model.onnx", graph, 18, {})
    assert [file.name for file in files] == ["model.onnx", "model.onnx.data"]
    assert check_onnx(files[0], graph, threads=1) < TOLERANCE


def test_an_opset_that_the_tracer_silently_does_not_reach_is_told(pictures: tuple[Path, Graph], tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="cannot be brought to opset 17"):
        write_onnx(tmp_path / "model.onnx", pictures[1], 17, {})
    assert not list(tmp_path.iterdir())


def test_a_model_is_exported_in_the_modes_that_it_can_be_used_in() -> None:
    assert allowed_modes(config("multimodal")) == ("multimodal", "missingaudioonly", "missingvideoonly")
    assert allowed_modes(config("audioonly")) == ("audioonly",) and choose_mode(config("audioonly"), None) == "audioonly"
    assert choose_mode(config(None), "videoonly") == "videoonly"
    unknown = config().model_copy(update={"mode": None})
    assert choose_mode(unknown, None) == "multimodal" and choose_mode(unknown, "audioonly") == "audioonly"
    with pytest.raises(InputError, match="mode is 'videoonly', which this model was not trained for; it can be audioonly"):
        choose_mode(config("audioonly"), "videoonly")
    assert isinstance(network(config("audioonly")), CAVMAEFT)
