"""`cavmae history` and `cavmae rollback`, as a person calls them."""

import json
from pathlib import Path

import pytest

from cavmae.cli import main
from tests.models.promoting import champion, model, put, version


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CAVMAE_WORK", str(tmp_path / "work"))
    a, b, c = (model(tmp_path / name, name * 3) for name in "abc")
    place = str(tmp_path / "registry")
    put(place, a, None, "one"), put(place, b, a, "two"), put(place, c, b, "three", promote=False)
    return place


def test_history_is_a_table_with_a_star_at_the_champion(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (version(tmp_path / name) for name in "abc")
    assert main(["history", "--registry", registry]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["time", "what", "version", "before", "run", "who", "reason"]
    assert lines[1][1:5] == ["promoted", a, "-", "one"]
    assert lines[2][:1] + lines[2][2:6] == ["*", "promoted", b, a, "two"]
    assert lines[3][1:5] == ["kept", c, b, "three"]


def test_rollback_moves_the_champion_and_history_tells_why(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = version(tmp_path / "a"), version(tmp_path / "b")
    words = ["rollback", "--registry", registry, "--reason", "hears birds everywhere", "--run-id", "r"]
    assert main(words) == 0 and champion(registry) == a
    assert capsys.readouterr().out == f"rolled back to {a} from {b}: hears birds everywhere\n"
    assert main(words) == 0
    assert capsys.readouterr().out == f"nothing changed: run r has rolled back to {a} before, champion is {a}\n"
    assert main(["history", "--registry", registry, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["champion"]["version"] == a and found["history"][-1]["outcome"] == "rolled_back"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rollback"], "--reason"),
        (["rollback", "--reason", ""], "1 to 200 printable"),
        (["rollback", "--reason", "a\nb"], "1 to 200 printable"),
        (["rollback", "--reason", "x", "--to", "nope"], "name a version that was champion"),
        (["history", "--registry", "nowhere"], "nowhere: holds no registry yet"),
        (["rollback", "--reason", "x", "--registry", "nowhere"], "nowhere: holds no registry yet"),
        (["history", "--registry", "https://there"], "is no place for a registry"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    registry: str, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    given = words if "--registry" in words else [*words, "--registry", registry]
    assert main(given) == 2
    message = capsys.readouterr().err
    assert says in message and message.count("\n") == 1 and not Path("nowhere").exists()
