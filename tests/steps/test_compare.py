"""The step `compare`: both models on the same clips, and what each rule makes of the difference."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cavmae.cli import main
from cavmae.dataset.loader import ClipSet
from cavmae.errors import InputError
from cavmae.evaluation.comparison import decide
from cavmae.evaluation.metrics import MACRO
from cavmae.evaluation.params import CompareParams
from cavmae.models.lineage import dataset_fingerprint
from cavmae.storage import sha256_file
from tests.training.tiny import arguments, params, run_step, tiny


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose champion hears the sound alone."""
    folder = tmp_path_factory.mktemp("champion") / "registry"
    crown(tiny().classifier("audioonly"), folder)
    return folder


def crown(model: Path, registry: Path) -> None:
    decision = registry.parent / "first.json"
    run_step("compare", {"dataset": tiny().dataset, "candidate": model, "registry": registry, "decision": decision})
    run_step("promote", {"candidate": model, "decision": decision, "registry": registry})


def compare(out: Path, registry: Path, candidate: Path | None = None, **changes: Any) -> dict[str, Any]:
    folders = {"dataset": tiny().dataset, "candidate": candidate or tiny().classifier(), "registry": registry, "decision": out}
    run_step("compare", folders, **changes)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def relabelled(folder: Path, start: Path, mids: dict[int, str]) -> Path:
    """A copy of a classifier, some of whose outputs have other labels."""
    shutil.copytree(start, folder)
    config = json.loads((folder / "config.json").read_text())
    for place, mid in mids.items():
        config["labels"][place]["mid"] = mid
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_without_a_champion_the_candidate_is_promoted(tmp_path: Path) -> None:
    found = compare(tmp_path / "d.json", tmp_path / "registry")
    assert found["promote"] is True and found["reason"] == "there is no champion yet"
    assert found["champion"] is None and found["difference"] == {} and not (tmp_path / "registry").exists()
    assert found["candidate"]["sha256"] == sha256_file(tiny().classifier() / "model.safetensors")
    assert 0 <= found["candidate"]["figures"]["mAP_low"] <= found["candidate"]["figures"]["mAP"] <= 1


def test_both_are_measured_as_evaluate_measures_each_in_its_own_mode(tmp_path: Path, registry: Path) -> None:
    found = compare(tmp_path / "d.json", registry)
    out = {name: tmp_path / name for name in ("metrics", "plots", "report")}
    models = {"model": tiny().classifier(), "audio_model": tiny().classifier("audioonly")}
    nothing = {"video_model": None, "pretrained": None, "curves": None}
    run_step("evaluate", {"dataset": tiny().dataset, **models, **nothing, **out})
    evaluated = json.loads(out["metrics"].read_text())["test"]
    for who, name in (("candidate", "multimodal"), ("champion", "audio")):
        for metric in MACRO:
            for end in ("", "_low", "_high"):
                assert found[who]["figures"][metric + end] == pytest.approx(evaluated[name][metric + end], abs=1e-9)
    assert (found["candidate"]["mode"], found["champion"]["mode"]) == ("multimodal", "audioonly")
    for metric in MACRO:
        flat = evaluated["difference"]["multimodal_minus_audio"]
        one = found["difference"][metric]
        assert [one["difference"], one["low"], one["high"]] == pytest.approx(
            [flat[metric], flat[f"{metric}_low"], flat[f"{metric}_high"]], abs=1e-9
        )
    assert found["dataset"] == dataset_fingerprint(tiny().dataset)
    assert found["clips"] == 8 and found["split"] == "test" and 2 <= found["groups"] <= 8
    assert found["params"]["replicates"] == 20 and found["rule"] == "interval"


def test_equal_models_and_data_give_equal_bytes_and_equal_weights_keep_the_champion(tmp_path: Path, registry: Path) -> None:
    compare(tmp_path / "d.json", registry)
    compare(tmp_path / "e.json", registry)
    assert (tmp_path / "d.json").read_bytes() == (tmp_path / "e.json").read_bytes()
    same = compare(tmp_path / "f.json", registry, tiny().classifier("audioonly"), rule="not_worse", margin=0.5)
    assert same["promote"] is False and "is the champion already" in same["reason"]


@pytest.mark.parametrize(
    ("rule", "margin", "difference", "low", "promote"),
    [
        ("interval", 0.0, 0.05, 0.01, True),
        ("interval", 0.0, 0.05, 0.0, False),
        ("interval", 0.02, 0.05, 0.01, False),
        ("point", 0.0, 0.01, -0.2, True),
        ("point", 0.02, 0.02, 0.01, False),
        ("not_worse", 0.02, -0.005, -0.01, True),
        ("not_worse", 0.02, 0.05, -0.02, False),
        ("not_worse", 0.0, 0.05, -0.001, False),
    ],
)
def test_rules(rule: str, margin: float, difference: float, low: float, promote: bool) -> None:
    found = {"difference": difference, "low": low, "high": 0.1}
    verdict, reason = decide(found, params("compare", rule=rule, margin=margin))
    assert verdict is promote
    sign = "minus " if rule == "not_worse" and margin else ""
    assert (
        reason.endswith(f"is {'' if promote else 'not '}above {sign}the margin of {margin:g}") and f"{difference:+.4f}" in reason
    )


def test_every_metric_that_can_be_compared_can_be_chosen() -> None:
    assert set(CompareParams.model_fields["metric"].annotation.__args__) == set(MACRO)  # type: ignore[union-attr]


def test_the_data_decide_which_labels_count(tmp_path: Path, registry: Path) -> None:
    labels = [label.mid for label in ClipSet(tiny().dataset).labels]
    other = relabelled(tmp_path / "other", tiny().classifier(), {0: "of no clip", 1: labels[2], 2: labels[1]})
    found = compare(tmp_path / "d.json", registry, other)
    assert found["labels_unknown_to_candidate"] == [labels[0]] and found["labels_only_of_candidate"] == ["of no clip"]
    assert found["labels_unknown_to_champion"] == [] == found["labels_only_of_champion"]
    plain = compare(tmp_path / "e.json", registry)["candidate"]["figures"]
    assert found["candidate"]["figures"]["mAP"] != plain["mAP"], "columns go by the label's name"
    none = relabelled(tmp_path / "none", tiny().classifier(), {place: f"new {place}" for place in range(len(labels))})
    with pytest.raises(InputError, match=r"none: knows none of the labels of .*; fine-tune on this data first"):
        compare(tmp_path / "f.json", registry, none)
    assert not (tmp_path / "f.json").exists()


def test_a_champion_that_knows_no_label_can_be_beaten(tmp_path: Path) -> None:
    count = len(ClipSet(tiny().dataset).labels)
    crown(tiny().classifier(), tmp_path / "registry")
    stranger = relabelled(tmp_path / "s", tiny().classifier("audioonly"), {place: f"old {place}" for place in range(count - 1)})
    shutil.rmtree(tmp_path / "registry")
    crown(stranger, tmp_path / "registry")
    found = compare(tmp_path / "d.json", tmp_path / "registry", rule="not_worse", margin=0.99)
    assert found["promote"] and len(found["labels_unknown_to_champion"]) == count - 1 == len(found["labels_only_of_champion"])
    assert np.isfinite(found["champion"]["figures"]["mAP"])


def test_the_terminal_shows_a_table_and_a_decision_to_keep_is_no_failure(
    tmp_path: Path, registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", tiny().dataset, "--candidate", tiny().classifier(), "--registry", registry]
    words += ["--decision", tmp_path / "d.json"]
    assert main([*arguments("compare", margin=0.99), *map(str, words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["candidate", "champion", "difference"]
    found = json.loads((tmp_path / "d.json").read_text())
    assert f"{found['champion']['figures']['mAP']:.4f}" in lines[2] and found["champion"]["sha256"][:16] in lines[2]
    assert lines[4] == f"8 test clips of {found['groups']} groups" and lines[5] == f"keep the champion: {found['reason']}"


def test_what_cannot_be_compared_is_told_before_anything_is_written(tmp_path: Path, registry: Path) -> None:
    slow = relabelled(tmp_path / "slow", tiny().classifier(), {})
    config = json.loads((slow / "config.json").read_text())
    config["clip"]["sample_rate"] = 8000
    (slow / "config.json").write_text(json.dumps(config))
    for candidate, words in (
        (slow, "is made for 8000 Hz"),
        (tiny().pretrained, "is no classifier"),
        (tmp_path, "config.json|model folder"),
    ):
        with pytest.raises(InputError, match=words):
            compare(tmp_path / "d.json", registry, candidate)
    with pytest.raises(InputError, match="is no registry"):
        compare(tmp_path / "d.json", tiny().classifier())
    damaged = tmp_path / "damaged"
    shutil.copytree(registry, damaged)
    (weights,) = (damaged / "versions").glob("*/model.safetensors")
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match=r"its model\.safetensors is not what was promoted"):
        compare(tmp_path / "d.json", damaged)
    assert not (tmp_path / "d.json").exists()
