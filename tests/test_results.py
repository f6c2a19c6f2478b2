"""The table that ends the demo."""

import json
from pathlib import Path

import pytest

from cavmae.errors import InputError
from cavmae.results import results_table


def test_models_intervals_ceiling_and_retrieval_stand_in_columns(tmp_path: Path) -> None:
    both = {"accuracy": 0.95, "accuracy_low": 0.9, "accuracy_high": 1.0, "mAP": 0.97, "mAUC": 0.99, "d_prime": 3.1, "f1": 0.94}
    way = {"r1": 0.5, "r5": 0.8, "r10": 1.0, "median_rank": 1.5, "chance_r1": 0.0125}
    test = {"audio": {"accuracy": 0.5, "mAP": 0.6}, "multimodal": both, "ceiling": {"audio": 0.5}}
    (tmp_path / "m.json").write_text(json.dumps({"test": test | {"retrieval": {"audio_to_video": way}}}))
    lines = results_table(tmp_path / "m.json", Path("reports/report.html")).splitlines()
    assert lines[0].split()[:3] == ["test", "split", "accuracy"]
    table = {line.split("  ")[0]: line.split() for line in lines if line}
    assert table["multimodal"][1:6] == ["0.950", "0.970", "0.990", "3.100", "0.940"] and "0.900 to 1.000" in "\n".join(lines)
    assert table["audio"][1:] == ["0.500", "0.600", "-", "-", "-", "-"]
    assert table["best possible"][2:] == ["audio", "0.50"]
    assert table["audio to video"][3:] == ["0.500", "0.800", "1.000", "1.500", "0.013"] or "0.012" in table["audio to video"]
    assert lines[-1] == "report: reports/report.html"
    heads = [line.index("accuracy") for line in lines if line.startswith("test split")]
    assert lines[1].index("0.950" if lines[1].startswith("multimodal") else "0.500") == heads[0], "columns are aligned"


@pytest.mark.parametrize(("level", "head"), [({"confidence": 0.9}, "90 % interval of accuracy"), ({}, "interval of accuracy")])
def test_the_level_of_the_intervals_is_the_one_that_was_measured_with(tmp_path: Path, level: dict[str, float], head: str) -> None:
    test = {"audio": {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "mAP": 0.6}} | level
    (tmp_path / "m.json").write_text(json.dumps({"test": test}))
    line = results_table(tmp_path / "m.json", None).splitlines()[0]
    assert line.endswith(f"  {head}")


@pytest.mark.parametrize("content", ["[]", "3", '{"test": []}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match="is not what `evaluate` writes"):
        results_table(tmp_path / "m.json", Path("r.html"))
