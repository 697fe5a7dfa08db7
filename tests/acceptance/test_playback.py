from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from poet.errors import ConfigurationError
from poet.sim.playback import PlaybackServer
from poet.sim.traffic import Recording, load_recordings

RECORDINGS = load_recordings()


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    with PlaybackServer() as running:
        yield running


def first(recording: Recording, outcome: str) -> int:
    return next(call for call, sample in enumerate(recording.samples) if sample.outcome == outcome)


def wait_for(server: PlaybackServer, **expected: int) -> dict[str, int]:
    """The server's counters once they are as expected, or as they are after 5 s."""
    end = time.monotonic() + 5.0
    while True:
        told = server.health()
        if all(told[name] == value for name, value in expected.items()) or time.monotonic() > end:
            return told


@pytest.mark.parametrize("name", ["catalog", "chat", "summary"])
def test_an_answer_never_comes_before_its_recorded_time(server: PlaybackServer, name: str) -> None:
    recording = RECORDINGS[name]
    with httpx.Client(base_url=server.url, timeout=30.0) as client:
        for call in range(4):
            began = time.monotonic()
            client.get(f"/{name}/{call}/0?arm=test")
            assert time.monotonic() - began >= recording.at(call, 0).seconds / recording.speed_up


def test_an_answer_is_200_and_an_error_503(server: PlaybackServer) -> None:
    summary = RECORDINGS["summary"]
    with httpx.Client(base_url=server.url, timeout=30.0) as client:
        assert client.get(f"/summary/{first(summary, 'ok')}/0").status_code == 200
        assert client.get(f"/summary/{first(summary, 'error')}/0").status_code == 503


def test_a_retry_meets_the_next_sample_of_the_record(server: PlaybackServer) -> None:
    summary = RECORDINGS["summary"]
    call = next(c for c in range(149) if [summary.at(c, k).outcome for k in (0, 1)] == ["error", "ok"])
    with httpx.Client(base_url=server.url, timeout=30.0) as client:
        assert [client.get(f"/summary/{call}/{attempt}").status_code for attempt in (0, 1)] == [503, 200]


def test_a_hang_lasts_until_the_client_goes_and_is_not_waited_for_after_that(server: PlaybackServer) -> None:
    call = first(RECORDINGS["quote"], "hang")
    before = wait_for(server, waiting=0)
    with (
        httpx.Client(base_url=server.url) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get(f"/quote/{call}/0", timeout=0.2)
    after = wait_for(server, waiting=0, abandoned=before["abandoned"] + 1)
    assert (after["waiting"], after["abandoned"]) == (0, before["abandoned"] + 1)


def test_requests_are_counted_by_arm_and_service(server: PlaybackServer) -> None:
    with httpx.Client(base_url=server.url, timeout=30.0) as client:
        for call in range(3):
            client.get(f"/catalog/{call}/0?arm=counted")
    asked = server.health()["asked"]
    assert isinstance(asked, dict)
    assert asked["counted catalog"] == 3


def test_an_unknown_service_is_not_found(server: PlaybackServer) -> None:
    answer = httpx.get(f"{server.url}/nothing/0/0")
    assert answer.status_code == 404
    assert "catalog" in answer.text


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_server_is_gone_after_its_block_although_a_request_hangs() -> None:
    call = first(RECORDINGS["quote"], "hang")
    with PlaybackServer(("quote",)) as server, httpx.Client(base_url=server.url) as client:
        pid = server.pid
        assert pid is not None
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"/quote/{call}/0", timeout=0.05)
    assert not is_alive(pid)
    assert server.pid is None


def test_the_server_is_gone_after_an_error_in_the_block() -> None:
    seen: list[int | None] = []

    def fail() -> None:
        with PlaybackServer(("quote",)) as server:
            seen.append(server.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert seen[0] is not None
    assert not is_alive(seen[0])


def test_the_server_ends_when_its_parent_is_killed() -> None:
    script = (
        "import sys\n"
        "from poet.sim.playback import PlaybackServer\n"
        "with PlaybackServer(('quote',)) as server:\n"
        "    print(server.url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdin is not None
    url = parent.stdout.readline().strip()
    assert httpx.get(f"{url}/health").status_code == 200
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        try:
            httpx.get(f"{url}/health")
        except httpx.TransportError:
            return
    pytest.fail("the server still answers 10 s after its parent was killed")


def test_a_server_of_unknown_recordings_does_not_start() -> None:
    from poet.sim.playback import PlaybackFailed, main

    with pytest.raises(ConfigurationError, match="nothing"):
        main(["nothing"])
    with pytest.raises(PlaybackFailed, match="did not start"), PlaybackServer(("nothing",)):
        pass
