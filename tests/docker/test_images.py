"""What the two images are, and what does not lie in them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cavmae import __version__
from tests.docker.conftest import USER, Engine
from tests.training.tiny import REPOSITORY

pytestmark = pytest.mark.docker
SITE = "/opt/cavmae/lib/python3*/site-packages"
Image = Callable[[str], str]


def facts(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.ask("image", "inspect", name).stdout)[0]
    return found


def test_the_data_image_is_small_and_has_no_torch(engine: Engine, image: Image) -> None:
    name = image("data")
    assert facts(engine, name)["Size"] < 800e6
    listed = engine.run(name, "sh", "-c", f"ls {SITE}").stdout.split()
    assert "pyarrow" in listed
    assert not [entry for entry in listed if entry.startswith(("torch", "nvidia", "triton", "onnx"))]


def test_the_train_image_has_torch_for_gpus_on_top_of_the_data_image(engine: Engine, image: Image) -> None:
    layers = {target: facts(engine, image(target))["RootFS"]["Layers"] for target in ("data", "train")}
    common = layers["data"][:-1]  # but for the project's own wheel
    assert len(common) >= 3
    assert layers["train"][: len(common)] == common
    program = "import torch, torchaudio, onnxruntime; print(torch.version.cuda)"
    assert engine.run(image("train"), "python", "-c", program).stdout.strip()


def test_it_runs_as_a_user_of_its_own_under_tini(engine: Engine, either: str) -> None:
    assert facts(engine, either)["Config"]["User"] == f"{USER}:{USER}"  # numbers, or Kubernetes cannot tell that it is not root
    said = engine.run(either, "sh", "-c", "id -u; id -g; tr '\\0' '\\n' </proc/1/cmdline | head -n 1").stdout.split()
    assert said == [str(USER), str(USER), "tini"]


def test_its_labels_say_what_it_is(engine: Engine, either: str) -> None:
    labels = facts(engine, either)["Config"]["Labels"]
    head = ["git", "-C", str(REPOSITORY), "show", "--no-patch", "--format=%ct", "HEAD"]
    seconds = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    made = subprocess.run(["date", "-u", "-d", f"@{seconds}", "+%Y-%m-%dT%H:%M:%SZ"], check=True, capture_output=True, text=True)
    title, _, commit = either.partition(":")
    assert {
        key.removeprefix("org.opencontainers.image."): value for key, value in labels.items() if key[-11:] != "description"
    } == {
        "title": title,
        "revision": commit,
        "version": __version__,
        "created": made.stdout.strip(),
    }


def test_lineage_names_the_commit_and_the_code_that_it_was_built_from(engine: Engine, image: Image) -> None:
    from cavmae.models.lineage import code_fingerprint

    commit = image("train").partition(":")[2]
    program = "from cavmae.models import lineage; print(lineage.code_commit(), lineage.code_fingerprint(), sep='\\n')"
    said = engine.run(image("train"), "python", "-c", program).stdout.splitlines()
    wanted = commit.removesuffix("-dirty") + (" with local changes" if commit.endswith("-dirty") else "")
    assert said == [wanted, code_fingerprint()]


def test_every_pin_is_installed_at_its_version(engine: Engine, either: str) -> None:
    target = either.partition(":")[0].removeprefix("cavmae-")
    lines = (REPOSITORY / "requirements" / f"image-{target}.txt").read_text().splitlines()
    pins = {line for line in lines if "==" in line}
    program = "from importlib.metadata import distributions; print('\\n'.join(f'{d.name}=={d.version}' for d in distributions()))"
    installed = {
        line.lower().replace("_", "-").replace(".", "-") for line in engine.run(either, "python", "-c", program).stdout.split()
    }
    assert len(pins) > 50
    assert {pin.lower().replace("_", "-").replace(".", "-") for pin in pins} - installed == set()


def test_no_source_tree_git_compiler_or_installer_lies_in_it(engine: Engine, either: str) -> None:
    script = (
        "for word in git gcc cc g++ make uv pip; do command -v $word; done; ls -A /work /mnt /tmp; find / -xdev -name .git; true"
    )
    assert engine.run(either, "sh", "-c", script).stdout.split() == ["/mnt:", "/tmp:", "/work:"]


def test_nothing_of_the_building_machine_is_left(engine: Engine, either: str) -> None:
    left = ("pip.conf", "uv.toml", "apt.conf", ".netrc", "direct_url.json", "*.whl", ".cache")
    either_of = [word for name in left for word in ("-o", "-name", name)][1:]
    words = ["find", "/", "-xdev", "(", *either_of, ")", "-not", "-path", "/usr/share/python-wheels/*"]
    assert engine.run(either, *words, options=["--user", "0"]).stdout == ""
    history = engine.ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", either).stdout
    assert "BEGIN CERTIFICATE" not in history
    assert "://" not in history
    environment = [word.partition("=")[0] for word in facts(engine, either)["Config"]["Env"]]
    assert not {word for word in environment if word.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))}


def test_no_certificate_of_the_building_machine_is_left_in_any_layer(engine: Engine, image: Image) -> None:
    """A machine whose authority is Debian's own has nothing to leave."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    extra = [path.read_text() for path in Path("/usr/local/share/ca-certificates").glob("**/*.crt")] if bundle.is_file() else []
    lines = [text.split("-----BEGIN CERTIFICATE-----")[1].split()[3].encode() for text in extra if "BEGIN CERTIFICATE" in text]
    if not lines:
        pytest.skip("this machine has no certificate authority of its own")
    assert all(len(line) == 64 for line in lines)
    with subprocess.Popen([engine.client, "save", image("data")], stdout=subprocess.PIPE) as saved:
        assert saved.stdout is not None
        size, tail = 0, b""
        while chunk := saved.stdout.read(1 << 22):
            assert not [line for line in lines if line in tail + chunk]
            size, tail = size + len(chunk), chunk[-64:]
    assert size > 1e8


def test_its_user_can_write_nowhere_but_to_the_folders_meant_for_it(engine: Engine, either: str) -> None:
    writable = ["find", "/", "-xdev", "(", "-type", "f", "-o", "-type", "d", ")", "-writable", "-not", "-path", "/proc/*"]
    found = engine.ask("run", "--rm", "--network", "none", either, *writable, check=False).stdout.split()
    assert {path for path in found if not path.startswith("/dev/")} == {"/work", "/tmp", "/var/tmp", "/run/lock"}


def test_no_program_in_it_gives_its_caller_more_rights(engine: Engine, either: str) -> None:
    words = ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"]
    assert engine.run(either, *words, options=["--user", "0"]).stdout == ""
