"""Images by digest: what the registry sends is believed, what it says is checked, and a bare tag never passes."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from pipelines.digests import parse_image, resolve_digest
from tests.pipelines.fake_registry import FakeRegistry, registry_serving

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with registry_serving(FakeRegistry()) as running:
        yield running


def login(monkeypatch: pytest.MonkeyPatch, folder: Path, document: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("", "a", "", "")),
        ("a:1", ("", "a", "1", "")),
        ("team/a:1", ("", "team/a", "1", "")),
        ("host.test/a:1", ("host.test", "a", "1", "")),
        ("localhost/a", ("localhost", "a", "", "")),
        ("host:5000/b/a", ("host:5000", "b/a", "", "")),
        ("[::1]:5000/a:x", ("[::1]:5000", "a", "x", "")),
        (f"host.test/a:1@{DIGEST}", ("host.test", "a", "1", DIGEST)),
        (f"a@{DIGEST}", ("", "a", "", DIGEST)),
    ],
)
def test_names_of_images(text: str, parts: tuple[str, ...]) -> None:
    assert tuple(parse_image(text)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "a:",
        "A/b",
        "host.test/",
        "host.test/../a:1",
        "a b:1",
        "a@sha256:12",
        "a@md5:x",
        "a:1@",
        "-x.test/a",
        "host.test/a:-1",
        "h.test:x/a",
        "a\n:1",
    ],
)
def test_what_is_no_name_of_an_image(text: str) -> None:
    with pytest.raises(InputError, match="no name of an image"):
        parse_image(text)


def test_a_tag_becomes_the_digest_of_what_the_registry_sends(registry: FakeRegistry) -> None:
    digest = registry.add("team/data:v1")
    assert resolve_digest(f"{registry.host}/team/data:v1") == f"{registry.host}/team/data@{digest}"


def test_a_tag_that_was_moved_gives_another_digest(registry: FakeRegistry) -> None:
    registry.add("data:v1")
    first = resolve_digest(f"{registry.host}/data:v1")
    registry.add("data:v1", b'{"schemaVersion": 2, "new": true}')
    assert resolve_digest(f"{registry.host}/data:v1") != first


def test_a_digest_is_not_asked_for_again(registry: FakeRegistry) -> None:
    assert resolve_digest(f"{registry.host}/data:v1@{DIGEST}") == f"{registry.host}/data@{DIGEST}"
    assert resolve_digest(f"data@{DIGEST}") == f"data@{DIGEST}"
    assert registry.sent == []


def test_a_registry_that_claims_nothing_is_taken_at_its_bytes(registry: FakeRegistry) -> None:
    digest = registry.add("data:v1")
    registry.digest = None
    assert resolve_digest(f"{registry.host}/data:v1").endswith(digest)


def test_a_registry_that_lies_is_caught(registry: FakeRegistry) -> None:
    registry.add("data:v1")
    registry.digest = DIGEST
    with pytest.raises(StepFailed, match=f"says {DIGEST} and sends sha256:.*do not trust"):
        resolve_digest(f"{registry.host}/data:v1")


@pytest.mark.parametrize(
    ("image", "said"),
    [("cavmae-data:1", "names no registry"), ("team/cavmae-data:1", "names no registry"), ("host.test/a", "has no tag")],
)
def test_a_name_that_cannot_be_asked_for(image: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve_digest(image)


def test_an_image_that_is_not_there(registry: FakeRegistry) -> None:
    with pytest.raises(InputError, match=r"data:v2: the registry has no such image; push it"):
        resolve_digest(f"{registry.host}/data:v2")


@pytest.mark.parametrize("kind", ["application/vnd.docker.distribution.manifest.v1+prettyjws", "text/html", ""])
def test_what_is_no_manifest_is_refused(registry: FakeRegistry, kind: str) -> None:
    registry.add("data:v1")
    registry.kind = kind
    with pytest.raises(StepFailed, match="no image's manifest"):
        resolve_digest(f"{registry.host}/data:v1")


def test_a_manifest_without_end_is_not_read_to_its_end(registry: FakeRegistry) -> None:
    registry.add("data:v1", b"x" * (6 << 20))
    with pytest.raises(StepFailed, match="no image's manifest"):
        resolve_digest(f"{registry.host}/data:v1")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_fails(registry: FakeRegistry, status: int) -> None:
    registry.act = lambda handler: handler.answer(status, b"{}")
    with pytest.raises(StepFailed, match=str(status)):
        resolve_digest(f"{registry.host}/data:v1")


def test_a_registry_that_hangs_up(registry: FakeRegistry) -> None:
    registry.act = lambda handler: setattr(handler, "close_connection", True)
    with pytest.raises(StepFailed, match=registry.host):
        resolve_digest(f"{registry.host}/data:v1")


def test_a_registry_that_cannot_be_reached() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StepFailed, match="cannot be reached"):
        resolve_digest(f"{host}/data:v1")


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("key", ["{}", "https://{}"])
def test_the_login_that_docker_keeps_is_used(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, key: str
) -> None:
    registry.auth, registry.user, registry.password = kind, "me", "pass:wörd"
    digest = registry.add("x:v1")
    login(monkeypatch, tmp_path / "docker", {"auths": {key.format(registry.host): auth("me", "pass:wörd")}})
    assert resolve_digest(f"{registry.host}/x:v1").endswith(digest)


def test_a_token_without_a_login_where_the_registry_gives_one(registry: FakeRegistry) -> None:
    registry.auth = "bearer"
    digest = registry.add("x:v1")
    assert resolve_digest(f"{registry.host}/x:v1").endswith(digest)
    assert [path.partition("?")[0] for _, path, _ in registry.sent] == ["/v2/x/manifests/v1", "/token", "/v2/x/manifests/v1"]


def test_an_identity_token_is_a_refresh_token(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry.auth, registry.user, registry.password = "bearer", "me", "refresh"
    digest = registry.add("x:v1")
    login(monkeypatch, tmp_path / "docker", {"auths": {registry.host: {"auth": "", "identitytoken": "refresh"}}})
    assert resolve_digest(f"{registry.host}/x:v1").endswith(digest)


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("known", [True, False])
def test_whoever_is_not_let_in_is_told_what_to_do(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, known: bool
) -> None:
    registry.auth, registry.user, registry.password = kind, "me", "right"
    registry.add("x:v1")
    login(monkeypatch, tmp_path / "docker", {"auths": {registry.host: auth("me", "wr0ng")} if known else {}})
    with pytest.raises(InputError, match=f"docker login {registry.host}") as caught:
        resolve_digest(f"{registry.host}/x:v1")
    assert ("no login for it" in str(caught.value)) != known
    assert "wr0ng" not in str(caught.value)


def test_a_login_of_another_registry_is_not_sent(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry.auth, registry.user = "basic", "me"
    login(monkeypatch, tmp_path / "docker", {"auths": {"127.0.0.1": auth("me", "x"), "other.test": auth("me", "y")}})
    with pytest.raises(InputError):
        resolve_digest(f"{registry.host}/x:v1")
    assert {authorization for _, _, authorization in registry.sent} == {""}


@pytest.mark.parametrize("document", [[], {"auths": {"HOST": {"auth": "%%%"}}}])
def test_a_configuration_of_docker_that_cannot_be_read(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, document: Any
) -> None:
    registry.auth = "basic"
    login(monkeypatch, tmp_path / "docker", json.loads(json.dumps(document).replace("HOST", registry.host)))
    with pytest.raises(InputError, match=r"config\.json"):
        resolve_digest(f"{registry.host}/x:v1")


def helper(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "docker-credential-toy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("where", ["credsStore", "credHelpers"])
def test_a_credential_helper_is_asked(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    registry.auth, registry.user, registry.password = "basic", "me", "right"
    digest = registry.add("x:v1")
    login(monkeypatch, tmp_path / "docker", {where: "toy" if where == "credsStore" else {registry.host: "toy"}})
    helper(monkeypatch, tmp_path / "bin", f'[ "$(cat)" = "{registry.host}" ] && echo \'{{"Username": "me", "Secret": "right"}}\'')
    assert resolve_digest(f"{registry.host}/x:v1").endswith(digest)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "docker-credential-toy: not found"),
        ("exit 1", "docker-credential-toy of"),
        ("echo hello", "something other than a login"),
    ],
)
def test_a_credential_helper_that_does_not_help(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, said: str
) -> None:
    registry.auth, registry.user = "basic", "me"
    login(monkeypatch, tmp_path / "docker", {"credsStore": "toy"})
    if script is not None:
        helper(monkeypatch, tmp_path / "bin", script)
    with pytest.raises((InputError, StepFailed), match=said):
        resolve_digest(f"{registry.host}/x:v1")


@pytest.mark.parametrize("name", ["../../tmp/evil", "-x", "a b", "$(touch /tmp/x)"])
def test_a_credential_helper_with_an_odd_name_is_not_started(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    registry.auth = "basic"
    login(monkeypatch, tmp_path / "docker", {"credsStore": name})
    with pytest.raises(InputError, match="no name of a program"):
        resolve_digest(f"{registry.host}/x:v1")


def test_a_password_goes_to_no_token_service_without_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pipelines.registry_login import Registry

    login(monkeypatch, tmp_path / "docker", {"auths": {"far.test": auth("me", "hunter2")}})
    with pytest.raises(StepFailed, match="not https"):
        Registry("far.test", "x")._token({"realm": "http://evil.test/token"}, "me", "hunter2")


def test_registries_elsewhere_are_spoken_to_with_tls() -> None:
    from pipelines.registry_login import Registry

    assert Registry("far.test", "x").address == "https://far.test"
    assert Registry("localhost:5000", "x").address == "http://localhost:5000"
    assert Registry("localhost.evil.test", "x").address == "https://localhost.evil.test"


def test_a_redirect_to_another_host_takes_no_password_along(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.auth, registry.user, registry.password = "basic", "me", "right"
    login(monkeypatch, tmp_path / "docker", {"auths": {registry.host: auth("me", "right")}})
    with registry_serving(FakeRegistry()) as other:
        digest = other.add("x:v1")
        target = f"http://localhost:{other.host.partition(':')[2]}/v2/x/manifests/v1"
        registry.act = lambda handler: handler.answer(307, b"", {"Location": target})
        assert resolve_digest(f"{registry.host}/x:v1").endswith(digest)
        assert {authorization for _, _, authorization in other.sent} == {""}
