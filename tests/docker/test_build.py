"""docker/build.py, against a client that writes down what it is told: names, arguments, secrets, and what stops it."""

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.training.tiny import REPOSITORY

ALLOWED = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
CLIENT = """#!{python}
import json, os, pathlib, sys, time
told = sys.argv[1:]
if told[0] == "version":
    print(os.environ.get("FAKE_VERSION", "20.10.24 20.10.24"))
elif told[0] == "image":
    print(781234567)
elif told[0] == "build":
    secrets = [word.split("src=")[1] for word in told if word.startswith("--secret=")]
    seen = {{"told": told, "buildkit": os.environ.get("DOCKER_BUILDKIT")}}
    paths = map(pathlib.Path, secrets)
    seen["secrets"] = {{str(path): [path.read_text(), path.parent.stat().st_mode & 0o777] for path in paths}}
    with open({log!r}, "a") as log:
        log.write(json.dumps(seen) + "\\n")
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
else:
    sys.exit(1)
"""


class Copy:
    """A working copy with the build's own files, and the client that it finds."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log, self.client = folder / "copy", folder / "log.jsonl", folder / "docker"
        shutil.copytree(REPOSITORY / "docker", self.root / "docker", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / ".dockerignore", self.root)
        for name in ALLOWED:
            path = self.root / name.replace("*", "dev")
            if not path.exists():
                path = path / "__init__.py" if not path.suffix else path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('__version__ = "1.2.3"\n')
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "one", when="2024-02-29T23:59:59+01:00")
        self.commit = self.git("rev-parse", "HEAD")
        self.client.write_text(CLIENT.format(python=sys.executable, log=str(self.log)))
        self.client.chmod(0o755)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "CAVMAE_DOCKER_CLIENT": str(self.client),
        }

    def git(self, *words: str, when: str = "2024-01-01T00:00:00Z") -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t.invalid", "-c", "commit.gpgsign=false"]
        dated = os.environ | {"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when}
        done = subprocess.run(["git", *identity, "-C", self.root, *words], check=True, capture_output=True, text=True, env=dated)
        return done.stdout.strip()

    @property
    def words(self) -> list[str]:
        return [sys.executable, str(self.root / "docker" / "build.py")]

    def build(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.words, *words], capture_output=True, text=True, env=self.environment | environment)

    def seen(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def secret(self, name: str) -> str:
        """What a build was given under a name."""
        given = self.seen()[-1]["secrets"]
        assert isinstance(given, dict)
        return str(next(content for path, (content, _) in given.items() if Path(path).name == name))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a build that never started."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_both_images_are_built_and_named_after_the_commit(copy: Copy) -> None:
    done = copy.build()
    assert done.returncode == 0, done.stderr
    builds = copy.seen()
    assert len(builds) == 2
    for target, build in zip(("data", "train"), builds, strict=True):
        told = build["told"]
        assert isinstance(told, list)
        assert f"--target {target} --tag cavmae-{target}:{copy.commit}" in " ".join(told)
        assert {
            f"--build-arg=GIT_COMMIT={copy.commit}",
            "--build-arg=VERSION=1.2.3",
            "--build-arg=CREATED=2024-02-29T22:59:59Z",
            "--build-arg=BASE_IMAGE=python:3.11-slim-bookworm",
            "--network=host",
        } <= set(told)
        assert told[-1] == str(copy.root)
        assert build["buildkit"] == "1"
        assert build["secrets"] == {}
        assert f"cavmae-{target}:{copy.commit}: 781 MB" in done.stderr


@pytest.mark.parametrize("name", ALLOWED)
def test_whatever_the_build_may_see_makes_the_image_dirty_when_it_differs(copy: Copy, name: str) -> None:
    path = copy.root / name.replace("*", "dev")
    path = path / "new file.py" if path.is_dir() else path
    path.write_text("changed")
    assert copy.build("--names").stdout.splitlines() == [f"cavmae-data:{copy.commit}-dirty", f"cavmae-train:{copy.commit}-dirty"]


def test_what_the_build_does_not_see_does_not(copy: Copy) -> None:
    (copy.root / "docs").mkdir()
    (copy.root / "docs" / "new.md").write_text("new")
    (copy.root / "docker" / "build.py").write_text((copy.root / "docker" / "build.py").read_text() + "# changed\n")
    assert copy.build("--names", "train").stdout == f"cavmae-train:{copy.commit}\n"
    (copy.root / "docker" / "Dockerfile").write_text("FROM scratch\n")
    assert copy.build("--names", "train").stdout == f"cavmae-train:{copy.commit}-dirty\n"


def test_a_dirty_build_says_so_and_tells_the_image(copy: Copy) -> None:
    (copy.root / "params.yaml").write_text("changed")
    done = copy.build("data")
    assert "marked -dirty" in done.stderr
    assert f"--build-arg=GIT_COMMIT={copy.commit}-dirty" in copy.seen()[0]["told"]  # type: ignore[operator]


def test_index_settings_reach_the_build_as_secrets_and_are_gone_afterwards(copy: Copy, tmp_path: Path) -> None:
    done = copy.build(
        "data",
        PIP_INDEX_URL="https://me:geh%23eim@index.invalid/packages",
        PIP_EXTRA_INDEX_URL="https://two.invalid/packages file:///opt/wheels",
        PIP_FIND_LINKS="/opt/wheels https://links.invalid/",
        PIP_TRUSTED_HOST="two.invalid",
    )
    assert done.returncode == 0, done.stderr
    build = copy.seen()[0]
    assert "geh" not in done.stderr + done.stdout + json.dumps(build["told"])
    assert done.stderr.count("is a folder of this machine") == 2
    pip = configparser.RawConfigParser()
    pip.read_string(copy.secret("pip"))
    assert pip["global"]["index-url"] == "https://me:geh%23eim@index.invalid/packages"
    assert pip["global"]["extra-index-url"].split() == ["https://two.invalid/packages"]
    assert pip["global"]["find-links"].split() == ["https://links.invalid/"]
    assert pip["global"]["trusted-host"].split() == ["two.invalid"]
    uv = tomllib.loads(copy.secret("uv"))
    assert uv["index"] == [
        {"url": "https://two.invalid/packages"},
        {"url": "https://me:geh%23eim@index.invalid/packages", "default": True},
    ]
    assert (uv["find-links"], uv["allow-insecure-host"]) == (["https://links.invalid/"], ["two.invalid"])
    secrets = build["secrets"]
    assert isinstance(secrets, dict)
    assert {mode for _, mode in secrets.values()} == {0o700}
    assert not [path for path in secrets if Path(path).exists()]
    program = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is not None:  # it says so where a key of its file is unknown to it
        (tmp_path / "uv.toml").write_text(copy.secret("uv"))
        listing = [program, "pip", "list", "--offline", "--python", sys.executable]
        read = subprocess.run(
            listing, capture_output=True, text=True, env=copy.environment | {"UV_CONFIG_FILE": str(tmp_path / "uv.toml")}
        )
        assert (read.returncode, read.stderr.count("rror"), read.stderr.count("arning")) == (0, 0, 0), read.stderr


def test_uvs_own_settings_come_before_pips(copy: Copy, tmp_path: Path) -> None:
    file = tmp_path / "uv settings.toml"
    file.write_text('[[index]]\nname = "ours"\nurl = "https://file.invalid/packages"\ndefault = true\n')
    copy.build(
        "data", PIP_INDEX_URL="https://pip.invalid/packages", UV_CONFIG_FILE=str(file), UV_INDEX="more=https://more.invalid/s?a=b"
    )
    assert tomllib.loads(copy.secret("uv"))["index"] == [
        {"url": "https://more.invalid/s?a=b"},
        {"url": "https://file.invalid/packages", "default": True},
    ]
    assert "pip.invalid" not in copy.secret("pip")


def test_uv_settings_that_cannot_be_read_stop_the_build(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("index = [")
    assert "uv.toml: cannot be read" in refusal(copy.build(UV_CONFIG_FILE=str(tmp_path / "uv.toml")))


@pytest.mark.parametrize("way", ["fails", "is stopped"])
def test_no_secret_survives_a_build_that(copy: Copy, way: str) -> None:
    environment = copy.environment | {"PIP_INDEX_URL": "https://me:geheim@index.invalid/packages"}
    if way == "fails":
        done = copy.build("data", FAKE_EXIT="3", **environment)
        assert (done.returncode, "exit code 3" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    else:
        with subprocess.Popen([*copy.words, "data"], env=environment | {"FAKE_SECONDS": "60"}) as process:
            deadline = time.monotonic() + 30
            while not copy.log.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 143
    secrets = copy.seen()[0]["secrets"]
    assert isinstance(secrets, dict)
    assert len(secrets) == 2
    assert not [path for path in secrets if Path(path).parent.exists()]


@pytest.mark.parametrize("variable", ["CAVMAE_CA_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_machines_certificate_authority_reaches_the_build(copy: Copy, tmp_path: Path, variable: str) -> None:
    (tmp_path / "ca bundle.crt").write_text("-----BEGIN CERTIFICATE-----")
    copy.build("data", **{variable: str(tmp_path / "ca bundle.crt")})
    assert f"--secret=id=ca,src={tmp_path / 'ca bundle.crt'}" in copy.seen()[0]["told"]  # type: ignore[operator]
    assert (tmp_path / "ca bundle.crt").exists()


def test_a_certificate_authority_that_a_build_cannot_take_stops_it(copy: Copy, tmp_path: Path) -> None:
    assert "no such file" in refusal(copy.build(CAVMAE_CA_FILE=str(tmp_path / "absent.crt")))
    (tmp_path / "large.crt").write_bytes(b"x" * 512_001)
    assert "500 kB" in refusal(copy.build(PIP_CERT=str(tmp_path / "large.crt")))
    (tmp_path / "a,b.crt").write_text("x")
    assert "comma" in refusal(copy.build(PIP_CERT=str(tmp_path / "a,b.crt")))


def test_without_an_engine_it_says_how_to_start_one_and_starts_none(copy: Copy) -> None:
    assert "docker/engine.sh up" in refusal(copy.build(CAVMAE_DOCKER_CLIENT=shutil.which("false") or "false"))
    assert "docker/engine.sh up" in refusal(copy.build(CAVMAE_DOCKER_CLIENT="/no/such/docker"))


def test_a_client_that_cannot_build_is_named(copy: Copy) -> None:
    assert re.search(r"docker: cannot build; .*buildx", refusal(copy.build(FAKE_VERSION="28.2.2 20.10.24")))


def test_outside_of_git_it_says_that_there_is_no_commit(copy: Copy) -> None:
    shutil.rmtree(copy.root / ".git")
    assert "named after its git commit" in refusal(copy.build(GIT_CEILING_DIRECTORIES=str(copy.root.parent)))


def test_an_unknown_image_is_refused(copy: Copy) -> None:
    assert "no image tain; there are data, train" in refusal(copy.build("tain"))
