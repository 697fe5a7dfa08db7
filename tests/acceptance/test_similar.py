from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from houses import House
from poet.cli.main import main
from poet.model.function import FunctionKey
from poet.sharing import keeping
from poet.stores.sqlite import SqliteStore

Ask = Callable[[str], tuple[int, str, str]]

PROGRAM = '''
from poet import poet
import poet as package

@poet(enable_training=True)
def fetch_page(url: str, retries_left: int = 3) -> bytes:
    """Download a page over HTTP."""
    return b"page" * 10

@poet(enable_training=True)
def download_site(address: str) -> bytes:
    """Get a web site from its URL. The secret is swordfish."""
    return b"site" * 10

@poet(enable_training=True)
def parse_invoice(text: str) -> dict:
    """Read an invoice as JSON."""
    return {"sum": sum(ord(each) for each in text * 200)}

for k in range(60):
    fetch_page("http://localhost")
    download_site("http://localhost")
    parse_invoice("an invoice")
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose functions were called by a process that has ended."""
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "shop.py"], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(project: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def asked(line: str, *more: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*line.split(), *more])
        told = capsys.readouterr()
        return code, told.out, told.err

    return asked


def similar(ask: Ask, line: str) -> list[dict[str, Any]]:
    code, out, err = ask(f"similar {line} --json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["similar"]
    return found


def test_the_command_line_says_who_is_alike_how_sure_that_is_and_why(ask: Ask) -> None:
    code, out, err = ask("similar fetch_page")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    first, second = (next(k for k, line in enumerate(lines) if name in line) for name in ("download_site", "parse_inv"))
    assert first < second
    assert "its learning helps:" in lines[first]
    for words in ("names and docstrings: much alike", "parameters and types:", "behaviour:", "60 calls at least"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80


def test_programs_get_probabilities_with_their_intervals_and_sources(ask: Ask) -> None:
    found = similar(ask, "fetch_page")
    assert [each["name"] for each in found] == ["download_site", "parse_invoice"]
    for each in found:
        assert 0 <= each["helps"]["low"] <= each["helps"]["value"] <= each["helps"]["high"] <= 1
        assert [told["source"] for told in each["sources"]] == ["names", "meaning", "types", "declared", "behaviour"]
        behaviour = each["sources"][-1]
        assert behaviour["likeness"] is not None
    assert len(similar(ask, "fetch_page --top 1")) == 1


def test_fingerprints_are_no_damage_to_the_doctor(ask: Ask) -> None:
    code, out, _ = ask("doctor")
    assert code == 0, out


def test_a_signature_that_is_not_there_yet_finds_its_relatives(
    ask: Any, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ask("similar --json", "def get_url(url: str) -> bytes: ...")
    assert code == 0
    assert json.loads(out)["similar"][0]["name"] in ("fetch_page", "download_site")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("similar fetch_pages", "did you mean"),
        ("similar fetch_page --top 0", "--top"),
        ("similar f(", "signature"),
        ("similar", "FN"),
    ],
)
def test_what_cannot_be_is_refused(ask: Ask, line: str, said: str) -> None:
    code, out, err = ask(line)
    assert (code, out) == (2, "")
    assert said in err


def test_no_text_of_the_code_is_in_the_store(project: Path) -> None:
    for file in (project / ".poet").iterdir():
        data = file.read_bytes()
        for word in (b"swordfish", b"Download", b"address", b"retries_left", b"http://localhost", b"an invoice"):
            assert word not in data


def test_a_poisoned_fingerprint_is_named_and_passed_over(ask: Ask, project: Path) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    document = next(
        each for each in store.documents(keeping.KIND) if each.function and each.function.qualname == "download_site"
    )
    store.keep(document._replace(body='{"format": 1, "packed": "AAAA"}'))
    store.close()
    code, out, _ = ask("similar fetch_page")
    assert code == 0
    assert "its fingerprint was refused" in " ".join(out.split())


def test_a_function_knows_its_relatives_and_hears_of_new_ones() -> None:
    house = House()

    @house.poet(enable_training=True)
    def fetch_page(url: str) -> bytes:
        """Download a page over HTTP."""
        house.clock.sleep(0.2)
        return b""

    @house.poet(enable_training=True)
    def download_site(address: str) -> bytes:
        """Get a web site from its URL."""
        house.clock.sleep(0.25)
        return b""

    for _ in range(30):
        fetch_page("")
    assert fetch_page.poet.similar() == []
    for _ in range(30):
        download_site("")
    (found,) = fetch_page.poet.similar(top=3)
    assert found.function == download_site.poet.key
    assert found.similarity > 0.5
    assert house.agent.trainer is not None
    assert house.agent.trainer.faults.count == 0


def test_a_store_that_fails_at_the_end_breaks_nothing() -> None:
    from poet.errors import StoreUnavailable
    from poet.model.document import Document
    from poet.stores.memory import MemoryStore

    class Full(MemoryStore):
        def keep(self, document: Document, *, quiet: bool = False) -> Document:
            raise StoreUnavailable("memory:", "it is full")

    house = House(store=Full())

    @house.poet(enable_training=True)
    def fetch_page(url: str) -> bytes:
        return b""

    fetch_page("")
    assert fetch_page.poet.similar() == []
    assert fetch_page.poet.status()["faults"] == 1
    assert "is like cannot be kept" in fetch_page.poet.status()["last_fault"]
    assert isinstance(fetch_page.poet.key, FunctionKey)
    house.agent.close()
