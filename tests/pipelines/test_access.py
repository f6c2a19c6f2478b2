"""Which host, which namespace, whose credentials: flags over the environment, and nothing that leaks."""

import argparse
from pathlib import Path

import pytest

from cavmae.errors import InputError
from pipelines.access import IN_CLUSTER, SETTINGS, add_access_options, connect
from pipelines.answers import Refused
from tests.pipelines.fake_kubeflow import API, FakeKubeflow


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_access_options(parser)
    return parser.parse_args(words)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_without_a_host_nothing_is_guessed() -> None:
    with pytest.raises(InputError, match=r"--host or set CAVMAE_KFP_HOST"):
        connect(options(), {})


def test_a_flag_stands_over_the_environment() -> None:
    there, namespace = connect(
        options("--host", "https://one.test"), {"CAVMAE_KFP_HOST": "two.test", "CAVMAE_KFP_NAMESPACE": "me"}
    )
    assert (there.host, namespace) == ("https://one.test", "me")


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("kubeflow.test", "https://kubeflow.test"),
        ("kubeflow.test/pipeline/", "https://kubeflow.test/pipeline"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
    ],
)
def test_hosts(given: str, host: str) -> None:
    assert connect(options("--host", given), {})[0].host == host


@pytest.mark.parametrize(
    "given",
    [
        "ftp://x",
        "https://",
        "https://x:port",
        "https://x:99999",
        "https://x?y=1",
        "https://x#y",
        "a b",
        "file:///etc/passwd",
        "http://x\n",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="--host"):
        connect(options("--host", given), {})


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        connect(options("--host", "https://me:hunter2@x.test"), {})
    assert "hunter2" not in str(caught.value)


def test_the_token_is_sent_and_read_anew_each_time(fake: FakeKubeflow, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    fake.token = "first"
    there, _ = connect(options("--host", fake.url, "--token-file", str(token)), {})
    there.get(f"{API}/healthz")
    fake.token = "second"
    with pytest.raises(Refused, match="401"):
        there.get(f"{API}/healthz")
    token.write_text("second")
    there.get(f"{API}/healthz")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such file"), ("", "no token"), ("two words", "no token"), ("a\r\nX-Evil: 1", "no token")]
)
def test_a_file_without_a_token_is_named(fake: FakeKubeflow, tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    there, _ = connect(options("--host", fake.url, "--token-file", str(path)), {})
    with pytest.raises(InputError, match=f"{path}: .*{said}"):
        there.get(f"{API}/healthz")
    assert fake.sent == []


def test_the_pods_service_account(fake: FakeKubeflow, tmp_path: Path) -> None:
    fake.token = "pod"
    environment = {"KF_PIPELINES_SA_TOKEN_PATH": written(tmp_path / "token", "pod"), "CAVMAE_KFP_SERVICE_ACCOUNT": "1"}
    connect(options("--host", fake.url), environment)[0].get(f"{API}/healthz")
    assert connect(options("--service-account"), {})[0].host == IN_CLUSTER


@pytest.mark.parametrize(("value", "on"), [("0", False), ("false", False), ("1", True), ("true", True), ("perhaps", None)])
def test_a_switch_in_the_environment(value: str, on: bool | None) -> None:
    environment = {"CAVMAE_KFP_SERVICE_ACCOUNT": value}
    if on:
        assert connect(options(), environment)[0].host == IN_CLUSTER
    else:
        with pytest.raises(InputError, match="no Kubeflow is named" if on is False else "must be 1 or 0"):
            connect(options(), environment)


COOKIES_TXT = "# Netscape HTTP Cookie File\n#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tok\n"


@pytest.mark.parametrize("content", ["session=ok", "other=1; session=ok\n", "Cookie: session=ok;", COOKIES_TXT])
def test_a_browsers_cookie(fake: FakeKubeflow, tmp_path: Path, content: str) -> None:
    fake.session = "ok"
    there, _ = connect(options("--host", fake.url, "--cookie-file", written(tmp_path / "cookies", content)), {})
    assert there.get(f"{API}/healthz") == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no cookie",
        "=x",
        "a=1\nb=2",
        "# Netscape HTTP Cookie File\nrubbish\n",
        "session=a\x00b",
        "x.test\tFALSE\t/\tFALSE\tsoon\tsession\tok",
        "x.test\tFALSE\t/\tFALSE\t1000000000\tsession\texpired",
        "ax.test\tFALSE\t/\tFALSE\t0\tsession\tanother's",
    ],
)
def test_a_file_without_a_cookie(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="cookie file"):
        connect(options("--host", "x.test", "--cookie-file", written(tmp_path / "cookies", content)), {})


def test_several_credentials_are_one_too_many(tmp_path: Path) -> None:
    token, cookie = written(tmp_path / "token", "t"), written(tmp_path / "cookie", "a=b")
    environment = {
        "CAVMAE_KFP_HOST": "x.test",
        "CAVMAE_KFP_TOKEN_FILE": token,
        "CAVMAE_KFP_USERNAME": "me",
        "CAVMAE_KFP_PASSWORD": "s3",
    }
    with pytest.raises(InputError, match=r"several credentials.*--token-file.*CAVMAE_KFP_USERNAME") as caught:
        connect(options(), environment)
    assert "s3" not in str(caught.value)
    connect(options("--cookie-file", cookie), environment)  # a flag says which
    with pytest.raises(InputError, match="several credentials"):
        connect(options("--cookie-file", cookie, "--token-file", token), {"CAVMAE_KFP_HOST": "x.test"})


@pytest.mark.parametrize("name", ["CAVMAE_KFP_USERNAME", "CAVMAE_KFP_PASSWORD"])
def test_half_a_login_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="belong together"):
        connect(options("--host", "x.test"), {name: "x"})


@pytest.mark.parametrize("host", ["http://kubeflow.test", "http://10.0.0.1:8080", "http://svc.cluster.local.evil.test"])
def test_credentials_do_not_travel_in_the_clear_unless_that_is_meant(tmp_path: Path, host: str) -> None:
    words = ["--host", host, "--token-file", written(tmp_path / "token", "t")]
    with pytest.raises(InputError, match="unencrypted"):
        connect(options(*words), {})
    connect(options(*words, "--plain-http"), {})
    connect(options("--host", host), {})  # nothing secret


@pytest.mark.parametrize("host", ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", IN_CLUSTER, "https://x.test"])
def test_credentials_may_go_to_this_machine_and_within_the_cluster(tmp_path: Path, host: str) -> None:
    connect(options("--host", host, "--token-file", written(tmp_path / "token", "t")), {})


def test_the_authoritys_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--ca-file"):
        connect(options("--host", "x.test", "--ca-file", str(tmp_path / "none.pem")), {})


def test_what_kfp_and_netrc_keep_in_the_home_folder_is_not_used(
    fake: FakeKubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".config" / "kfp").mkdir(parents=True)
    (home / ".config" / "kfp" / "context.json").write_text('{"namespace": "other", "client_authentication_cookie": "session=x"}')
    (home / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://elsewhere.test")
    connect(options("--host", fake.url), {})[0].get(f"{API}/healthz")
    assert not {"Authorization", "Cookie"} & fake.sent[0].headers.keys()


def test_every_setting_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "kubeflow-remote.md").read_text()
    for setting in SETTINGS.values():
        assert setting.flag in page and setting.variable in page
