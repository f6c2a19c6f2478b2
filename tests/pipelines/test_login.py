"""Signing in with a password where dex asks for it: on one host, once, and without a trace of the password."""

import argparse
import logging

import pytest

from cavmae.errors import InputError, StepFailed
from pipelines.access import add_access_options, connect
from pipelines.answers import Refused
from pipelines.connection import Connection
from tests.pipelines.fake_dex import PASSWORD, USER, Dex
from tests.pipelines.fake_kubeflow import API, FakeKubeflow


@pytest.fixture
def dex(fake: FakeKubeflow) -> Dex:
    fake.session = "nobody has this"
    fake.pages = Dex(fake)
    return fake.pages


def signed(fake: FakeKubeflow, user: str = USER, password: str = PASSWORD, path: str = "", **more: str) -> Connection:
    parser = argparse.ArgumentParser()
    add_access_options(parser)
    environment = {"CAVMAE_KFP_HOST": fake.url + path, "CAVMAE_KFP_USERNAME": user, "CAVMAE_KFP_PASSWORD": password, **more}
    return connect(parser.parse_args([]), environment)[0]


@pytest.mark.parametrize("chooses", [True, False])
@pytest.mark.parametrize("approves", [True, False])
@pytest.mark.parametrize("path", ["", "/pipeline"])
def test_the_whole_way(fake: FakeKubeflow, dex: Dex, chooses: bool, approves: bool, path: str) -> None:
    dex.chooses, dex.approves = chooses, approves
    there = signed(fake, path=path)
    assert dex.sessions == 0  # nothing is sent before it is needed
    there.get(f"{API}/healthz")
    there.post(f"{API}/experiments", {"display_name": "x"})
    assert dex.sessions == 1
    assert [form for _, form in dex.forms] == [{"login": [USER], "password": [PASSWORD]}]


def test_a_page_with_a_button_is_passed(fake: FakeKubeflow, dex: Dex) -> None:
    dex.button = True
    assert signed(fake).get(f"{API}/healthz") == {}


def test_another_connector(fake: FakeKubeflow, dex: Dex) -> None:
    signed(fake, CAVMAE_KFP_DEX_CONNECTOR="ldap").get(f"{API}/healthz")
    assert dex.forms[0][0].startswith("/dex/auth/ldap/login")
    with pytest.raises(InputError, match="CAVMAE_KFP_DEX_CONNECTOR"):
        signed(fake, CAVMAE_KFP_DEX_CONNECTOR="../x").get(f"{API}/healthz")


def test_a_session_that_has_ended_is_opened_again(fake: FakeKubeflow, dex: Dex) -> None:
    there = signed(fake)
    there.get(f"{API}/healthz")
    fake.session = "expired"
    there.post(f"{API}/experiments", {"display_name": "x"})
    assert dex.sessions == 2
    assert len(fake.experiments) == 1


def test_a_session_that_does_not_help_is_not_opened_forever(fake: FakeKubeflow, dex: Dex) -> None:
    dex.turns["/oauth2/callback"] = "/home"  # no cookie comes of it
    with pytest.raises(InputError, match="no session came of it"):
        signed(fake).get(f"{API}/healthz")
    assert len(dex.forms) == 1


def test_a_wrong_password_is_said_and_tried_once(fake: FakeKubeflow, dex: Dex) -> None:
    with pytest.raises(InputError, match="user or password is refused") as caught:
        signed(fake, password="wr0ng").get(f"{API}/healthz")
    assert "wr0ng" not in str(caught.value)
    assert len(dex.forms) == 1


@pytest.mark.parametrize("page", ["/", "/dex/auth", "/dex/auth/local", "/dex/approval"])
@pytest.mark.parametrize("target", ["https://evil.test/login", "//evil.test/x", "http://localhost:1/x"])
def test_no_other_host_is_followed(fake: FakeKubeflow, dex: Dex, page: str, target: str) -> None:
    dex.chooses = False
    dex.turns[page] = target
    with pytest.raises(InputError, match=r"followed on http://127\.0\.0\.1"):
        signed(fake).get(f"{API}/healthz")
    assert len(dex.forms) == (1 if page == "/dex/approval" else 0)


def test_circles_end(fake: FakeKubeflow, dex: Dex) -> None:
    dex.turns["/dex/auth"] = "/dex/auth"
    with pytest.raises(StepFailed, match="circles"):
        signed(fake).get(f"{API}/healthz")


def test_a_form_that_is_not_dex_is_not_filled_in(fake: FakeKubeflow, dex: Dex) -> None:
    dex.turns["/dex/auth"] = "/home"
    with pytest.raises(InputError, match=r"ends at /home.*--cookie-file"):
        signed(fake).get(f"{API}/healthz")
    assert dex.forms == []


def test_where_nobody_asks_for_a_password_none_is_sent(fake: FakeKubeflow) -> None:
    fake.pages = lambda handler, path, query, content: path == "/" and handler.answer(200, "ok") is None
    assert signed(fake).get(f"{API}/healthz") == {}


def test_the_password_is_nowhere_in_the_log(fake: FakeKubeflow, dex: Dex, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "urllib3"):
        signed(fake).get(f"{API}/healthz")
    assert caplog.text and PASSWORD not in caplog.text and "p%26ss" not in caplog.text and "ticket1" not in caplog.text


def test_without_credentials_one_is_told_how_to_sign_in(fake: FakeKubeflow, dex: Dex) -> None:
    parser = argparse.ArgumentParser()
    add_access_options(parser)
    there, _ = connect(parser.parse_args(["--host", fake.url]), {})
    with pytest.raises(Refused, match=r"not signed in \(sent on to /dex/auth\)"):
        there.get(f"{API}/healthz")
