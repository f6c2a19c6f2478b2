"""The connection to Kubeflow: what is repeated and what never is, and one line for each way in which it goes wrong."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Refused, Unanswered, one_line
from pipelines.connection import Connection
from pipelines.kubeflow import Kubeflow
from tests.pipelines.fake_kubeflow import API, FakeKubeflow


def connection(fake: FakeKubeflow) -> Connection:
    return Connection(fake.url, requests.Session())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    monkeypatch.setattr(Connection, "TIMEOUT_S", (2.0, 0.3))


@pytest.mark.parametrize("act", [429, 500, 502, 503, 504, "drop", "slow"])
def test_a_read_is_repeated_until_it_goes_well(fake: FakeKubeflow, pauses: list[float], act: int | str) -> None:
    fake.mood("GET", act, times=2)
    assert connection(fake).get(f"{API}/healthz") == {}
    assert len(fake.sent) == 3
    assert pauses == [0.5, 1.0]


def test_a_host_that_says_how_long_to_wait_is_heard_within_reason(fake: FakeKubeflow, pauses: list[float]) -> None:
    for seconds in ("3", "9999", "soon"):
        fake.mood("GET", lambda handler, told=seconds: handler.answer(503, {}, {"Retry-After": told}), times=1)
    connection(fake).get(f"{API}/healthz")
    assert pauses == [3, 30, 2]


@pytest.mark.parametrize("act", [503, "drop", "slow"])
def test_a_read_that_never_goes_well_is_a_failure_of_one_line(fake: FakeKubeflow, act: int | str) -> None:
    fake.mood("GET", act)
    with pytest.raises(StepFailed, match="tried 5 times") as caught:
        connection(fake).get(f"{API}/healthz")
    assert len(fake.sent) == 5
    assert fake.url in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("act", [500, 502, 503, 504, "drop", "slow"])
def test_a_write_is_sent_once_and_its_outcome_is_called_unknown(fake: FakeKubeflow, act: int | str) -> None:
    fake.mood("POST", act)
    with pytest.raises(Unanswered):
        connection(fake).post(f"{API}/experiments", {"display_name": "x"})
    assert fake.writes() == [f"POST {API}/experiments"]


def test_a_write_that_is_turned_away_for_the_moment_is_sent_once_and_known_not_to_be_done(fake: FakeKubeflow) -> None:
    fake.mood("POST", 429)
    with pytest.raises(StepFailed, match="429") as caught:
        connection(fake).post(f"{API}/experiments", {"display_name": "x"})
    assert not isinstance(caught.value, Unanswered)
    assert len(fake.sent) == 1


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_host_that_cannot_be_reached_is_a_failure_and_not_of_unknown_outcome(method: str, pauses: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StepFailed, match=r"cannot be reached.*refused") as caught:
        getattr(Connection(url, requests.Session()), method)(f"{API}/runs")
    assert not isinstance(caught.value, Unanswered)
    assert len(pauses) == (4 if method == "get" else 0)


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "in a mood of 400"), (401, "token or the cookie"), (403, "--namespace"), (404, "in a mood of 404"), (409, "409")],
)
def test_a_no_is_the_users_to_mend_and_is_not_asked_again(fake: FakeKubeflow, status: int, said: str) -> None:
    fake.mood("GET", status)
    with pytest.raises(Refused, match=said) as caught:
        connection(fake).get(f"{API}/healthz")
    assert caught.value.exit_code == 2 and caught.value.status == status
    assert len(fake.sent) == 1


def test_a_redirect_means_not_signed_in_and_is_not_followed(fake: FakeKubeflow) -> None:
    fake.mood("GET", lambda handler: handler.answer(302, "", {"Location": "https://evil.test/steal?code=1"}))
    with pytest.raises(Refused, match=r"not signed in \(sent on to evil.test/steal\)"):
        connection(fake).get(f"{API}/healthz")
    assert len(fake.sent) == 1


@pytest.mark.parametrize("content", ["<html>welcome</html>", "[1]", "{", ""])
def test_what_is_no_kubeflow_is_told_from_one(fake: FakeKubeflow, content: str) -> None:
    fake.mood("", lambda handler: handler.answer(200, content, {"Content-Type": "text/html"}))
    if content:
        with pytest.raises(InputError, match="answers with text/html, as no Kubeflow Pipelines API does"):
            connection(fake).get(f"{API}/healthz")
        with pytest.raises(Unanswered):
            connection(fake).post(f"{API}/runs", {})
    else:
        assert connection(fake).get(f"{API}/healthz") == {}


def test_words_of_the_host_cannot_break_the_line_or_the_terminal(fake: FakeKubeflow) -> None:
    message = "no\n\x1b[2Jcavmae: all is well\u202e" + "x" * 5000
    fake.mood("GET", lambda handler: handler.answer(400, {"message": message}))
    with pytest.raises(Refused) as caught:
        connection(fake).get(f"{API}/healthz")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_a_page_for_people_is_not_quoted(fake: FakeKubeflow) -> None:
    fake.mood("GET", lambda handler: handler.answer(404, "<html><body>x</body></html>", {"Content-Type": "text/html"}))
    with pytest.raises(Refused) as caught:
        connection(fake).get(f"{API}/healthz")
    assert "<" not in str(caught.value)


def test_a_list_is_read_page_after_page_up_to_the_limit(fake: FakeKubeflow) -> None:
    fake.experiments = {str(number): {"experiment_id": str(number)} for number in range(250)}
    asked = connection(fake)
    assert len(list(asked.pages(f"{API}/experiments", "experiments", {"page_size": 100}))) == 250
    assert [sent.query.get("page_token") for sent in fake.sent] == [None, "100", "200"]
    assert len(list(asked.pages(f"{API}/experiments", "experiments", {"page_size": 100}, limit=120))) == 120
    assert len(fake.sent) == 5


def test_a_list_that_leads_back_to_itself_ends(fake: FakeKubeflow) -> None:
    fake.mood("GET", lambda handler: handler.answer(200, {"runs": [], "next_page_token": "again"}))
    assert list(connection(fake).pages(f"{API}/runs", "runs", {})) == []
    assert len(fake.sent) == 2


def test_the_hosts_clock_is_told(fake: FakeKubeflow) -> None:
    from datetime import timedelta

    fake.clock = timedelta(days=-3)
    asked = connection(fake)
    asked.get(f"{API}/healthz")
    assert abs(asked.now() - fake.now()) < timedelta(seconds=5)


@pytest.mark.parametrize("name", ["a+b", "50%", "ü & ö", 'say "hi"', "%2B", "../x", "a/b?c=d#e"])
def test_names_are_found_whatever_they_hold(api: Kubeflow, name: str) -> None:
    assert api.experiment(name) is None
    made = api.create_experiment(name)
    assert api.experiment(name) == made


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_ids_that_would_change_the_address_are_refused(api: Kubeflow, identifier: str) -> None:
    with pytest.raises(InputError, match="no id"):
        api.run(identifier)


def test_an_id_stays_one_part_of_the_address(api: Kubeflow, fake: FakeKubeflow) -> None:
    with pytest.raises(Refused):
        api.run("x/../../experiments?y")
    assert fake.sent[-1].path == f"{API}/runs/x%2F..%2F..%2Fexperiments%3Fy"


def test_a_namespace_is_asked_for_and_sent_where_there_are_several_users(fake: FakeKubeflow) -> None:
    fake.multi_user = True
    with pytest.raises(InputError, match="CAVMAE_KFP_NAMESPACE"):
        Kubeflow(connection(fake), None).experiment("x")
    Kubeflow(connection(fake), "me").experiment("x")
    assert fake.sent[-1].query["namespace"] == "me"
    with pytest.raises(Refused, match=r"403.*namespace unknown"):
        Kubeflow(connection(fake), "unknown").runs(5)


def test_a_namespace_is_not_sent_where_there_is_one_user(fake: FakeKubeflow) -> None:
    Kubeflow(connection(fake), "me").runs(5)
    assert all("namespace" not in sent.query for sent in fake.sent)


@pytest.fixture
def behind_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A host whose certificate no authority of the system signed, and the file of the one that did."""
    import subprocess

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                with listening.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield f"https://localhost:{listening.getsockname()[1]}", certificate
        listening.close()


def test_an_unknown_certificate_is_refused_and_one_of_a_given_authority_is_taken(behind_tls: tuple[str, Path]) -> None:
    url, certificate = behind_tls
    with pytest.raises(InputError, match=r"certificate.*--ca-file"):
        Connection(url, requests.Session()).get(f"{API}/healthz")
    assert Connection(url, requests.Session(), verify=str(certificate)).get(f"{API}/healthz") == {}


def test_one_line_is_one_line() -> None:
    assert one_line("a\r\n\tb  c") == "a b c"
    assert len(one_line("x" * 1000, 50)) == 50
    assert json.loads(json.dumps(one_line(b"\xff")))  # whatever it is given
