"""Values for some contexts only: parameters named ``name@feature=value``, as ``timeout@region=eu``.

What is before the ``@`` is the parent: it gives the bounds, and the value in contexts that have none of their own. Of
several features, joined by ``,``, all must hold. Where several names fit a call, the one of most features wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from poet.errors import ConfigurationError
from poet.model.execution import kept

V = TypeVar("V")
Features = tuple[tuple[str, str], ...]  # texts of features by name, sorted
_ESCAPED = {"%": "%25", ",": "%2C", "=": "%3D", "@": "%40"}


def text_of(value: object) -> str:
    """What stands for a feature's value in a name.

    >>> text_of("eu"), text_of(True), text_of(0.5), text_of("a=b")
    ('eu', 'True', '0.5', 'a%3Db')
    """
    plain = kept(value)
    if isinstance(plain, str):
        return plain if plain.isalnum() else _escaped(plain)
    return repr(plain)


def _escaped(text: str) -> str:
    for mark, code in _ESCAPED.items():
        text = text.replace(mark, code)
    return text


def _plain(text: str) -> str:
    for mark, code in reversed(_ESCAPED.items()):
        text = text.replace(code, mark)
    return text


def named(base: str, features: Iterable[tuple[str, object]]) -> str:
    """The name of ``base`` in the context of these features; without any, ``base`` itself.

    >>> named("timeout", (("region", "eu"), ("vip", True)))
    'timeout@region=eu,vip=True'
    """
    told = ",".join(f"{_escaped(name)}={text_of(value)}" for name, value in features)
    return f"{base}@{told}" if told else base


def base_of(name: str) -> str:
    """The parameter that ``name`` is a context's value of; itself where it is none.

    >>> base_of("timeout@region=eu"), base_of("timeout")
    ('timeout', 'timeout')
    """
    return name.partition("@")[0]


def features_of(name: str) -> Features:
    """The features that ``name`` is for, in one order whatever theirs; none where it is for all contexts.

    Raises ConfigurationError where there is no such form.

    >>> features_of("timeout@vip=True,region=eu")
    (('region', 'eu'), ('vip', 'True'))
    """
    _, mark, told = name.partition("@")
    if not mark:
        return ()
    pairs = [each.partition("=") for each in told.split(",")]
    if not all(mark and feature for feature, mark, _ in pairs) or len({each[0] for each in pairs}) < len(pairs):
        raise ConfigurationError(f"no name of a value for a context: {name!r}; write it as 'timeout@region=eu'")
    return tuple(sorted((_plain(feature), text) for feature, _, text in pairs))


def by_features(values: Mapping[str, V]) -> dict[Features, dict[str, V]]:
    """The values for contexts, by features and then by the parents' names; those of fewer features first.

    A name that has not the form is passed over: what a store holds must not break a call.

    >>> by_features({"timeout": 1.0, "timeout@region=eu": 2.0})
    {(('region', 'eu'),): {'timeout': 2.0}}
    """
    found: dict[Features, dict[str, V]] = {}
    for name, value in values.items():
        if "@" in name:
            try:
                features = features_of(name)
            except ConfigurationError:
                continue
            found.setdefault(features, {})[base_of(name)] = value
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def held(values: Mapping[str, V], fixed: Mapping[str, V]) -> dict[str, V]:
    """``values`` with those that somebody fixed: what is fixed for all contexts holds in each.

    >>> held({"timeout": 1.0, "timeout@region=eu": 2.0}, {"timeout": 3.0})
    {'timeout': 3.0}
    """
    return {name: value for name, value in values.items() if base_of(name) not in fixed or name in fixed} | dict(fixed)


def spread(fixed: Mapping[str, V], values: Mapping[str, object]) -> dict[str, V]:
    """What is fixed for all contexts, in those that ``values`` tells apart as well.

    >>> spread({"timeout": 3.0}, {"timeout": 1.0, "timeout@region=eu": 2.0})
    {'timeout': 3.0, 'timeout@region=eu': 3.0}
    """
    told = {name: fixed[base_of(name)] for name in values if base_of(name) in fixed}
    return {**told, **fixed}
