from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet import domains
from poet.domains.interface import Checks
from poet.domains.registry import GROUP, OURS, Registry
from poet.domains.table import TableDomain
from poet.errors import ConfigurationError

MINE = TableDomain("mine")


def install(folder: Path, package: str, module: str, code: str, **domains: str) -> None:
    """A package as an installer leaves it in ``folder``: a module, and metadata with entry points."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {module}:{what}\n" for name, what in domains.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_our_four_domains_are_found_like_anyones() -> None:
    registry = Registry()
    assert set(OURS) <= set(registry.known())
    for name in OURS:
        assert registry.find(name).name == name


def test_what_must_be_listed_is_what_is_declared() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert set(OURS) == set(project["project"]["entry-points"][GROUP])


def test_a_domain_of_another_package_is_found_and_loaded_only_when_asked_for(site: Path) -> None:
    code = "from poet.domains import TableDomain\nRIVER = TableDomain('river')\n"
    install(site, "river-domains", "river_domains_a", code, river="RIVER")
    registry = Registry()
    assert "river" in registry.known()
    assert registry.resolve("webshop") is None
    assert "river_domains_a" not in sys.modules
    assert registry.find("river").name == "river"
    assert registry.find("river") is registry.resolve("river")


def test_a_class_is_made_an_object_once(site: Path) -> None:
    code = (
        "from poet.domains import Checks\n"
        "class River:\n"
        "    name = 'river'\n"
        "    def for_function(self, signature):\n"
        "        return Checks()\n"
    )
    install(site, "river-domains", "river_domains_b", code, river="River")
    registry = Registry()
    assert not isinstance(registry.find("river"), type)
    assert registry.find("river") is registry.find("river")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise RuntimeError('no licence')\n", "RuntimeError: no licence"),
        ("", "AttributeError"),
        ("RIVER = 5\n", "must be an object with a name"),
        ("class RIVER:\n    def __init__(self, town):\n        pass\n", "TypeError"),
    ],
)
def test_a_broken_plug_in_is_an_error_where_it_is_asked_for_and_nowhere_else(site: Path, code: str, why: str) -> None:
    install(site, "river-domains", f"river_domains_{abs(hash(code))}", code, river="RIVER")
    registry = Registry()
    assert registry.find("semiconductor").name == "semiconductor"
    for look in (registry.find, registry.resolve):
        with pytest.raises(ConfigurationError, match=f"'river' of river-domains.*{why}"):
            look("river")


def test_two_packages_that_offer_one_name_are_both_named(site: Path) -> None:
    for package in ("rivers", "streams"):
        code = "from poet.domains import TableDomain\nD = TableDomain('river')\n"
        install(site, package, f"{package}_domains", code, river="D")
    with pytest.raises(ConfigurationError, match="rivers and streams offer a domain 'river' each"):
        Registry().find("river")


def test_a_domain_registered_by_hand_is_found() -> None:
    registry = Registry()
    registry.register("mine", MINE)
    registry.register("mine", MINE)
    assert registry.find("mine") is registry.resolve("mine") is MINE
    assert "mine" in registry.known()


def test_a_name_that_is_taken_is_refused() -> None:
    registry = Registry()
    registry.register("mine", MINE)
    with pytest.raises(ConfigurationError, match="another domain is registered as 'mine'"):
        registry.register("mine", TableDomain("mine too"))
    with pytest.raises(ConfigurationError, match="poet-runtime offers a domain 'semiconductor' already"):
        registry.register("semiconductor", MINE)
    assert registry.find("semiconductor") is not MINE


def test_what_is_no_domain_is_refused() -> None:
    class River:
        name = "river"

        def for_function(self, signature: object) -> Checks:
            return Checks()

    for what in (object(), None, River, "river"):
        with pytest.raises(ConfigurationError, match="must be an object with a name"):
            Registry().register("mine", what)  # type: ignore[arg-type]
    for name in ("", " ", None):
        with pytest.raises(ConfigurationError, match="needs a name"):
            Registry().register(name, MINE)  # type: ignore[arg-type]
    Registry().register("mine", River())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'financial_services'"):
        Registry().find("financial_servises")
    with pytest.raises(ConfigurationError, match=r"known are: .*building_management"):
        Registry().find("zzz")


@pytest.mark.parametrize("label", ["web", "finance", "building", "llm", "enhanced_llm_optimization", "données"])
def test_a_name_unlike_any_domain_is_a_label(label: str) -> None:
    assert Registry().resolve(label) is None


@pytest.mark.parametrize(
    "slip", ["finacial_services", "Financial Services", "SEMICONDUCTOR", "semi-conductor", "llm_optimisation"]
)
def test_a_slip_of_the_pen_is_not_taken_for_a_label(slip: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean"):
        Registry().resolve(slip)


@given(st.sampled_from(OURS), st.data())
def test_no_single_letter_left_out_makes_a_domain_a_label(name: str, data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(name) - 1))
    with pytest.raises(ConfigurationError):
        domains.resolve(name[:gone] + name[gone + 1 :])


def test_our_own_domain_is_never_taken_for_a_label_where_the_metadata_is_stale() -> None:
    registry = Registry("poet.domains of an older installation")
    assert registry.known() == ()
    for look in (registry.find, registry.resolve):
        with pytest.raises(ConfigurationError, match="install it again"):
            look("semiconductor")
    registry.register("semiconductor", MINE)
    assert registry.resolve("semiconductor") is MINE
