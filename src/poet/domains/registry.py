"""Where domains are found: entry points of installed packages, and what was registered by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from poet.domains.interface import Domain
from poet.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "poet.domains"
OURS: Final = ("building_management", "financial_services", "llm_optimization", "semiconductor")
"""What this package's own metadata must list. Should it not, their checks must not vanish without a word."""

CLOSE: Final = 0.8  # of difflib's ratio, from which on a name counts as a slip of the pen, in [0, 1]


class Registry:
    """Domains by name. A package is imported when one of its domains is first asked for; safe to use from threads.

    There is no lock: a plug-in's import may register, and waiting for it under a lock could be waiting for oneself.
    """

    def __init__(self, group: str = GROUP) -> None:
        """group: of the entry points; they are listed once, when first needed."""
        self._group = group
        self._domains: dict[str, Domain] = {}
        self._listed: dict[str, list[EntryPoint]] | None = None

    def register(self, name: str, domain: Domain) -> None:
        """Make ``domain`` known as ``name`` in this process, for functions that are decorated from now on.

        Raises ConfigurationError where the name is another domain's, or ``domain`` is none.
        """
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(f"a domain needs a name, got {name!r}")
        _refuse_what_is_no_domain(domain, f"the domain {name!r}")
        listed = self._entry_points().get(name)
        if listed:
            raise ConfigurationError(f"{_packages(listed)} offers a domain {name!r} already: choose another name")
        if self._domains.setdefault(name, domain) is not domain:
            raise ConfigurationError(f"another domain is registered as {name!r} already: choose another name")

    def known(self) -> tuple[str, ...]:
        """The names of all domains that can be found, sorted; none is imported for it."""
        return tuple(sorted({*self._domains, *self._entry_points()}))

    def find(self, name: str) -> Domain:
        """The domain of this name. Raises ConfigurationError where there is none, or it cannot be had."""
        domain = self._domains.get(name)
        if domain is None:
            domain = self._domains.setdefault(name, self._load(name))
        return domain

    def resolve(self, name: str) -> Domain | None:
        """The domain that a decorator's ``domain=`` means; None: a label, with nothing behind it.

        Raises ConfigurationError where a known domain cannot be had, and where the name is so close to a known one that
        it must be a slip: its checks would be missed where they are needed.
        """
        from difflib import get_close_matches  # needed only where a domain is named

        if name in self._domains or name in self._entry_points() or name in OURS:
            return self.find(name)
        known = {_plain(each): each for each in (*OURS, *self.known())}
        close = get_close_matches(_plain(name), known, n=1, cutoff=CLOSE)
        if close:
            raise ConfigurationError(
                f"no domain {name!r}: did you mean {known[close[0]]!r}? "
                "A label with no domain behind it must differ more from that"
            )
        return None

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        if self._listed is None:
            from importlib.metadata import entry_points  # milliseconds, needed only where a domain is named

            listed: dict[str, list[EntryPoint]] = {}
            for each in entry_points(group=self._group):
                listed.setdefault(each.name, []).append(each)
            self._listed = listed
        return self._listed

    def _load(self, name: str) -> Domain:
        listed = self._entry_points().get(name)
        if listed is None:
            if name in OURS:
                raise ConfigurationError(
                    f"{name!r} is one of POET's own domains, but the installed package does not list it: "
                    "install it again, or register() it"
                )
            raise ConfigurationError(f"no domain {name!r}: {nearest(name, self.known())}")
        if len({each.value for each in listed}) > 1:
            raise ConfigurationError(f"{_packages(listed)} offer a domain {name!r} each: uninstall all but one")
        what = f"the domain {name!r} of {_packages(listed)}"
        try:
            domain = listed[0].load()
            if isinstance(domain, type):
                domain = domain()
        except Exception as error:
            raise ConfigurationError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
        _refuse_what_is_no_domain(domain, what)
        found: Domain = domain
        return found


def _refuse_what_is_no_domain(domain: object, what: str) -> None:
    if (
        isinstance(domain, type)
        or not isinstance(getattr(domain, "name", None), str)
        or not callable(getattr(domain, "for_function", None))
    ):
        raise ConfigurationError(
            f"{what} must be an object with a name and a for_function(signature), see poet.domains.Domain; "
            f"got {domain!r}"
        )


def _packages(listed: list[EntryPoint]) -> str:
    names = {each.dist.name if each.dist else each.value for each in listed}
    return " and ".join(sorted(names))


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


_REGISTRY = Registry()
register, known, find, resolve = _REGISTRY.register, _REGISTRY.known, _REGISTRY.find, _REGISTRY.resolve
