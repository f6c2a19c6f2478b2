"""Builds the images of the working copy's commit: `python docker/build.py`, or `make images`. Needs Python alone."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from client import Refused, ask, client
from indexes import machine_indexes
from revision import ROOT, TARGETS, Revision, image_name, known_targets, revision

CA_VARIABLES = ("CAVMAE_CA_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
BASE_IMAGE = "python:3.11-slim-bookworm"
_SECRET_BYTES = 500 * 1024  # what BuildKit takes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a build failed, 2 where none could be started."""
    parser = argparse.ArgumentParser(description="Build the images cavmae-data:COMMIT and cavmae-train:COMMIT.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which ones: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--base", default=BASE_IMAGE, metavar="IMAGE", help=f"Python base image (default {BASE_IMAGE})")
    parser.add_argument("--network", default="host", help="network of the build's commands (default host)")
    parser.add_argument("--no-cache", action="store_true", help="use nothing of earlier builds")
    parser.add_argument("--names", action="store_true", help="only print the images' names")
    options = parser.parse_args(arguments)
    # a build that is asked to stop takes its secrets away with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        targets, built_from = known_targets(options.targets), revision()
        names = {target: image_name(target, built_from) for target in targets}
        if options.names:
            sys.stdout.write("".join(f"{name}\n" for name in names.values()))
            return 0
        docker = client()
        if built_from.dirty:
            _say("the working copy differs from its commit; the images are marked -dirty")
        with secrets() as given:
            for target, name in names.items():
                build(docker, target, name, built_from, options, given)
    except Refused as refused:
        _say(str(refused))
        return 2
    except subprocess.CalledProcessError as error:
        _say(f"the build failed with exit code {error.returncode}; the cause stands above")
        return 1
    return 0


def build(docker: str, target: str, name: str, built_from: Revision, options: argparse.Namespace, given: Sequence[str]) -> None:
    """Build one image and say its size; raises CalledProcessError where it fails."""
    facts = {
        "BASE_IMAGE": options.base,
        "GIT_COMMIT": built_from.commit,
        "VERSION": built_from.version,
        "CREATED": built_from.created,
    }
    words = [docker, "build", "--file", str(ROOT / "docker" / "Dockerfile"), "--target", target, "--tag", name]
    words += [f"--network={options.network}", *(["--no-cache"] if options.no_cache else []), *given]
    words += [f"--build-arg={key}={value}" for key, value in facts.items()]
    began = time.monotonic()
    subprocess.run([*words, str(ROOT)], check=True, env=os.environ | {"DOCKER_BUILDKIT": "1"})
    size = int(ask([docker, "image", "inspect", "--format", "{{.Size}}", name]))
    _say(f"{name}: {size / 1e6:.0f} MB, {time.monotonic() - began:.0f} s")


@contextmanager
def secrets() -> Iterator[list[str]]:
    """The options that hand a build this machine's certificate authority and package indexes; their files are gone afterwards."""
    authority = certificate_authority()
    indexes = machine_indexes()
    for place in indexes.unseen:
        _say(f"package index {place.rpartition('@')[2]} is a folder of this machine, which a build cannot see; left out")
    with tempfile.TemporaryDirectory(prefix="cavmae-build-") as folder:  # for this user's eyes alone
        given = [f"--secret=id=ca,src={authority}"] if authority else []
        for name, content in (("pip", indexes.pip_conf()), ("uv", indexes.uv_toml())):
            if content:
                (Path(folder) / name).write_text(content, encoding="utf-8")
                given.append(f"--secret=id={name},src={Path(folder) / name}")
        yield given


def certificate_authority() -> Path | None:
    """Return the file of certificates that the machine's package tools use; None where they use their own.

    Raises Refused where CAVMAE_CA_FILE is no file, or the file is too large or oddly named for a build.
    """
    for variable in CA_VARIABLES:
        value = os.environ.get(variable)
        if not value:
            continue
        path = Path(value).resolve()
        if not path.is_file():
            if variable == CA_VARIABLES[0]:
                raise Refused(f"{variable}: {value}: no such file")
            continue
        if path.stat().st_size > _SECRET_BYTES or "," in str(path) or '"' in str(path):
            raise Refused(
                f"{variable}: {path}: a build takes files of up to 500 kB without comma or quotation mark in their path"
            )
        return path
    return None


def _say(sentence: str) -> None:
    sys.stderr.write(f"images: {sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
