"""A container is waited for, and only then removed; whatever its exit code is, it counts."""

from typing import Any

import pytest

from pipelines.containers import containers_waited_for, run_container


class FakeContainer:
    """Plays an engine's container."""

    def __init__(self, code: int, fails: BaseException | None = None) -> None:
        self.code, self.fails, self.calls = code, fails, [""]

    def start(self) -> None:
        self.calls.append("start")

    def logs(self, **_: Any) -> Any:
        yield b"a line\n"
        if self.fails:
            raise self.fails
        yield b"broken \xff\n"

    def wait(self) -> dict[str, int]:
        self.calls.append("wait")
        return {"StatusCode": self.code}

    def stop(self, timeout: int) -> None:
        self.calls.append("stop")

    def remove(self, force: bool) -> None:
        self.calls.append("remove")


class FakeClient:
    """Plays an engine."""

    def __init__(self, container: FakeContainer) -> None:
        self.containers, self.container = self, container

    def create(self, **options: Any) -> FakeContainer:
        assert "auto_remove" not in options
        return self.container


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_the_exit_code_is_the_containers(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    container = FakeContainer(code)
    assert run_container(FakeClient(container), "image", ["true"], {}) == code
    assert container.calls[1:] == ["start", "wait", "remove"]
    assert "a line" in capsys.readouterr().out


def test_an_interrupt_stops_the_container() -> None:
    container = FakeContainer(0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_container(FakeClient(container), "image", ["true"], {})
    assert container.calls[1:] == ["start", "stop", "remove"]


def test_kfp_uses_it_while_a_run_lasts() -> None:
    from kfp.local import docker_task_handler

    before = docker_task_handler.run_docker_container
    with containers_waited_for():
        assert docker_task_handler.run_docker_container is run_container
    assert docker_task_handler.run_docker_container is before
