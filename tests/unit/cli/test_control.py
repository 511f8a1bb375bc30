"""Who may pause and resume tasks."""

import pytest

from mqbridge_cli.runner.control import CONTROL_HEADER, CONTROL_VALUE, refusal
from mqbridge_cli.task import CONTROL


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8686", "localhost:8686", "LOCALHOST", "[::1]:8686", "127.0.0.1"])
def test_the_own_machine_may(peer: str, host: str) -> None:
    assert refusal(peer=peer, host=host, control="task") is None


@pytest.mark.parametrize("peer", ["192.168.1.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "2001:db8::1", ""])
def test_another_machine_may_not(peer: str) -> None:
    assert "this machine only" in str(refusal(peer=peer, host="127.0.0.1:8686", control="task"))


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:8686",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "0.0.0.0:8686",
        "[2001:db8::1]:8686",
        "[::1].evil.example",
        "10.0.0.1",
    ],
)
def test_a_page_whose_name_leads_here_may_not(host: str | None) -> None:
    """DNS rebinding: the browser says the page's name in Host."""
    assert "loopback name" in str(refusal(peer="127.0.0.1", host=host, control="task"))


@pytest.mark.parametrize("control", [None, "", "yes", "Task"])
def test_a_page_that_only_posts_may_not(control: str | None) -> None:
    assert "Mqbridge-Control: task" in str(refusal(peer="127.0.0.1", host="localhost", control=control))


def test_the_command_line_says_what_the_runner_asks_for() -> None:
    assert {CONTROL_HEADER: CONTROL_VALUE} == CONTROL
