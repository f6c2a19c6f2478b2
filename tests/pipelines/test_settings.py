"""The settings file: over the defaults, checked, wrong keys named."""

from pathlib import Path

import pytest
import yaml

from cavmae.errors import InputError
from pipelines.settings import DEFAULTS, read_settings
from pipelines.site import with_tag


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "team.yaml"
    path.write_text(text)
    return path


def test_a_file_of_ones_own_changes_only_what_it_names(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, "train: {gpus: 4, node_selector: {pool: gpu}}\nstorage: {store: 's3://b/x'}\n"))
    assert (found.train.gpus, found.train.node_selector, found.storage.store) == (4, {"pool": "gpu"}, "s3://b/x")
    assert found.train.retries == read_settings().train.retries


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("train: {gpu: 4}", "train.gpu"),
        ("gpus: 4", "gpus"),
        ("train: {gpus: -1}", "train.gpus"),
        ("train: {gpus: many}", "train.gpus"),
        ("train: {shm: lots}", "train.shm"),
        ("train: {nodes: 2}", "storage.claim"),
        ("images: {data: 'Not An Image'}", "images.data"),
        ("images: {pull_policy: Sometimes}", "images.pull_policy"),
        ("storage: {mount: relative}", "storage.mount"),
        ("storage: {secret: 'Not A Name'}", "storage.secret"),
        ("train: {tolerations: [{effect: Never}]}", "train.tolerations"),
        ("train: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, word: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert word in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_key_of_the_defaults_is_explained() -> None:
    lines = [line for line in DEFAULTS.read_text().splitlines() if line.startswith("  ") and not line.strip().startswith("#")]
    assert len(lines) > 20 and all("#" in line for line in lines)
    assert set(yaml.safe_load(DEFAULTS.read_text())) == {"images", "storage", "service_account", "data", "train"}


@pytest.mark.parametrize(
    ("image", "tagged"),
    [
        ("cavmae-data", "cavmae-data:abc"),
        ("registry.example:5000/team/cavmae-data", "registry.example:5000/team/cavmae-data:abc"),
        ("registry.example:5000/team/cavmae-data:v1", "registry.example:5000/team/cavmae-data:v1"),
        ("team/cavmae-data@sha256:" + "0" * 64, "team/cavmae-data@sha256:" + "0" * 64),
    ],
)
def test_the_commit_is_the_tag_of_images_that_have_none(tmp_path: Path, image: str, tagged: str) -> None:
    found = with_tag(read_settings(written(tmp_path, f"images: {{data: '{image}'}}")), lambda: "abc")
    assert found.images.data == tagged


def test_images_that_are_named_whole_need_no_git(tmp_path: Path) -> None:
    def no_git() -> str:
        raise AssertionError("asked for the commit")

    settings = read_settings(written(tmp_path, "images: {data: 'a:1', train: 'b:2'}"))
    assert with_tag(settings, no_git) == settings
