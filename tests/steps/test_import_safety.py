"""The command `import`: nothing else is lost by it, and no file makes it ask for too much."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cavmae.errors import InputError
from tests.models.official import TOLD, classifier, parallel, pretrained
from tests.steps.importing import imported
from tests.training.tiny import run_step, tiny


def test_the_output_never_takes_the_checkpoint_or_other_things_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    torch.save(parallel(classifier().state_dict()), folder / "official.pth")
    with pytest.raises(InputError, match=r"files: would be replaced as a whole, and .*official\.pth lies in it"):
        run_step("import", {"checkpoint": folder / "official.pth", "out": folder}, **TOLD)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InputError, match=r"photos: would be replaced as a whole, and holds 'a\.jpg'"):
        run_step("import", {"checkpoint": folder / "official.pth", "out": tmp_path / "photos"}, **TOLD)
    assert (folder / "official.pth").is_file() and (tmp_path / "photos" / "a.jpg").is_file()
    for _ in range(2):  # an earlier import is replaced
        run_step("import", {"checkpoint": folder / "official.pth", "out": tmp_path / "model"}, **TOLD)


def test_a_trained_model_and_a_project_are_not_replaced(tmp_path: Path) -> None:
    checkpoint = tmp_path / "official.pth"
    torch.save(parallel(classifier().state_dict()), checkpoint)

    def refused(out: Path, name: str) -> None:
        before = sorted(path.relative_to(out) for path in out.rglob("*"))
        with pytest.raises(InputError, match=rf"{out.name}: would be replaced as a whole, and holds '{name}', which no earlier"):
            run_step("import", {"checkpoint": checkpoint, "out": out}, **TOLD)
        assert sorted(path.relative_to(out) for path in out.rglob("*")) == before

    refused(Path(shutil.copytree(tiny().classifier(), tmp_path / "trained")), "curves.tsv")
    refused(Path(shutil.copytree(tiny().adapted, tmp_path / "adapted")), "config.json")  # the same three files
    project = tmp_path / "project"
    project.mkdir()
    for name in ("config.json", "main.py"):
        (project / name).write_text("{}")
    refused(project, "main.py")
    (project / "main.py").unlink()
    refused(project, "config.json")


def test_a_small_file_that_asks_for_a_huge_model_is_refused_by_name(tmp_path: Path) -> None:
    def wide(*names: str) -> dict[str, Tensor]:
        return {name: torch.zeros(1_000_000) for name in names}

    told = {"single_label": "true", "num_heads": 2}  # which divide the width
    state = dict(classifier().state_dict()) | wide("norm.weight", "norm_a.weight", "norm.bias")
    state |= {"pos_embed_a": torch.zeros(1, 1_000_000, 1)}
    with pytest.raises(InputError, match=r"pos_embed_a has shape \(1, 1000000, 1\), the model wants \(1, 1000000, 1000000\)"):
        imported(tmp_path, parallel(state), **told)
    state = dict(pretrained().state_dict()) | wide("decoder_norm.weight", "decoder_embed.bias")
    state |= {"pos_embed_v": torch.zeros(1, 1_000_000, 24)}
    with pytest.raises(InputError, match=r"decoder_pos_embed_a has shape \(1, 32, 16\), the model wants \(1, 32, 1000000\)"):
        imported(tmp_path, parallel(state))
    del state["decoder_pos_embed_a"]
    with pytest.raises(InputError, match=r"pth: missing decoder_pos_embed_a$"):
        imported(tmp_path, parallel(state))
    alone = dict(classifier(modalities="a").state_dict()) | wide("norm.weight", "norm_a.weight", "norm.bias")
    alone |= {"pos_embed_a": torch.zeros(1, 8, 1_000_000), "modality_a": torch.zeros(1, 1, 1_000_000)}
    with pytest.raises(InputError, match=r"norm\.weight has 1000000 values, .* no such model is that wide"):
        imported(tmp_path, parallel(alone), **told)
    assert not (tmp_path / "model").exists()
