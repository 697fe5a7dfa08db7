from __future__ import annotations

import io
from dataclasses import dataclass

from poet.demo.progress import Show


@dataclass
class Work:
    """Two services' worth of calls, done when the test says so."""

    name: str
    done: int = 0
    total: int = 40
    live: str = "timeout 30 s, 3 retries"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_the_live_values_of_each_service() -> None:
    out = Terminal()
    services = [Work("chat"), Work("quote")]
    with Show(services, out) as look:
        services[1].done, services[1].live = 40, "timeout 2.9 s, 4 retries"
        look()
    shown = out.getvalue()
    assert "chat" in shown
    assert "40/40 calls" in shown
    assert "timeout 2.9 s, 4 retries" in shown


def test_elsewhere_a_line_is_written_now_and_then() -> None:
    out = io.StringIO()
    with Show([Work("chat", done=10), Work("quote", done=40)], out, every=0.0) as look:
        look()
    assert out.getvalue().splitlines() == ["   0 s: 50 of 80 calls; chat 25 %, quote 100 %"]


def test_elsewhere_lines_are_not_written_at_every_look() -> None:
    out = io.StringIO()
    with Show([Work("chat")], out, every=1e6) as look:
        look()
        look()
    assert out.getvalue() == ""
