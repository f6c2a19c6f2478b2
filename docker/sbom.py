"""Writes what is in the images, as CycloneDX: `python docker/sbom.py`, or `make sbom`. The same image gives the same bytes.

cyclonedx-py reads the Python packages from the metadata that lies in the image; the Debian packages stand beside them.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import uuid
import venv
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from client import Refused, ask, client
from revision import ROOT, TARGETS, image_name, known_targets, revision

OUT = ROOT / "build" / "sbom"
_METADATA = "cd /opt/cavmae/lib/python3*/site-packages && exec tar -cf - -- *.dist-info"
_DEBIAN = ("dpkg-query", "--show", "--showformat", "${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 where an image or a tool is missing."""
    parser = argparse.ArgumentParser(description="Write a CycloneDX bill of materials for each image.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which images: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where to (default build/sbom)")
    options = parser.parse_args(arguments)
    try:
        targets = known_targets(options.targets)
        docker, built_from = client(), revision()
        options.out.mkdir(parents=True, exist_ok=True)
        for target in targets:
            name = image_name(target, built_from)
            path = options.out / f"cavmae-{target}.cdx.json"
            document = bill_of_materials(docker, name)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(partial, path)
            sys.stderr.write(f"sbom: {path}: {len(document['components'])} packages in {name}\n")
    except Refused as refused:
        sys.stderr.write(f"sbom: {refused}\n")
        return 2
    return 0


def bill_of_materials(docker: str, name: str) -> dict[str, Any]:
    """Return the bill of materials of an image as a CycloneDX document; raises Refused where it is missing or not valid."""
    try:
        facts = json.loads(ask([docker, "image", "inspect", name]))[0]
    except Refused:
        raise Refused(f"{name}: no such image; build it with `make images`") from None
    labels = facts["Config"]["Labels"]
    document = _python_packages(_inside(docker, name, "sh", "-c", _METADATA), labels["org.opencontainers.image.created"])
    released = dict(line.partition("=")[::2] for line in _inside(docker, name, "cat", "/etc/os-release").decode().splitlines())
    distro = f"{released['ID']}-{released['VERSION_ID']}".replace('"', "")
    document["components"] += _debian_packages(_inside(docker, name, *_DEBIAN).decode(), distro)
    _name_ours(document["components"], labels["org.opencontainers.image.revision"])
    document["components"].append(_interpreter(_inside(docker, name, "python", "-VV").decode()))
    document["components"].sort(key=lambda component: str(component["bom-ref"]))
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": name,
        "name": name.partition(":")[0],
        "version": labels["org.opencontainers.image.revision"],
        "properties": [{"name": "image:id", "value": facts["Id"]}],
    }
    document["dependencies"] = [entry for entry in document.get("dependencies", []) if entry["ref"] != "root-component"]
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, facts['Id'])}"
    _check(document)
    return document


def _inside(docker: str, name: str, *words: str) -> bytes:
    """What a command prints in the image."""
    run = [docker, "run", "--rm", "--network", "none", "--read-only", "--entrypoint", words[0], name, *words[1:]]
    done = subprocess.run(run, capture_output=True)
    if done.returncode:
        raise Refused(f"{name}: `{words[0]}` failed in it: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _python_packages(metadata: bytes, created: str) -> dict[str, Any]:
    """The document that cyclonedx-py writes of an environment that has the image's metadata and nothing else."""
    moment = datetime.fromisoformat(created)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="cavmae-sbom-") as folder:
        venv.create(folder, with_pip=False, symlinks=True)
        packages = next(Path(folder).glob("lib/python3*/site-packages"))
        with tarfile.open(fileobj=io.BytesIO(metadata)) as archive:
            archive.extractall(packages, filter="data")
        words = [
            sys.executable,
            "-m",
            "cyclonedx_py",
            "environment",
            "--output-reproducible",
            "--no-validate",
            "--of",
            "JSON",
            "-o",
            "-",
        ]
        done = subprocess.run(
            [*words, str(Path(folder) / "bin" / "python")],
            capture_output=True,
            text=True,
            env=clean | {"SOURCE_DATE_EPOCH": str(int(moment.timestamp()))},
        )
    if done.returncode:
        raise Refused(f"cyclonedx-py: {(done.stderr.strip().splitlines() or ['failed'])[-1]}; is cyclonedx-bom installed?")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _debian_packages(listing: str, distro: str) -> Iterator[dict[str, Any]]:
    from packageurl import PackageURL

    for line in listing.splitlines():
        status, package, version, architecture = line.split("\t")
        if status != "installed":
            continue
        purl = PackageURL("deb", "debian", package, version, {"arch": architecture, "distro": distro}).to_string()
        yield {"type": "library", "bom-ref": purl, "name": package, "version": version, "purl": purl}


def _name_ours(components: Sequence[dict[str, Any]], commit: str) -> None:
    """The project is on no package index: an address there would be somebody else's."""
    for component in components:
        if component["name"] == "cavmae":
            component["purl"] = f"pkg:generic/cavmae@{component['version']}"
            component["properties"] = [{"name": "git:commit", "value": commit}]


def _interpreter(words: str) -> dict[str, Any]:
    """`Python 3.11.2 (main, …)`: a base image may have it from somewhere else than Debian."""
    version = words.split()[1]
    purl = f"pkg:generic/cpython@{version}"
    return {"type": "platform", "bom-ref": purl, "name": "cpython", "version": version, "purl": purl}


def _check(document: dict[str, Any]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(document["specVersion"])
    if problem := JsonStrictValidator(version).validate_str(json.dumps(document)):
        raise Refused(f"the document is not valid CycloneDX: {problem}")


if __name__ == "__main__":
    sys.exit(main())
