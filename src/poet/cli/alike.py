"""``poet similar``: which functions are like one, how sure that is, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poet.cli import views
from poet.cli.commands import Asked
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.seams import Store

if TYPE_CHECKING:
    from poet.model.likeness import SimilarFunction
    from poet.sharing.intelligence_registry import Signature


def similar(store: Store, name: str, asked: Asked) -> Document:
    """The functions that are most like one of the store, or like a signature that is written as code.

    Raises UnknownFunction, AmbiguousFunction, ConfigurationError.
    """
    from poet.sharing import keeping  # here: only this command needs it
    from poet.sharing.intelligence_registry import IntelligenceRegistry

    registry = IntelligenceRegistry(store)
    records = store.functions()
    meant: Signature = name
    told = name
    if "(" not in name:
        key = find(name, records).key
        meant, told = key, str(key)
        known = registry.fingerprint(key)
        lately = keeping.measured(store, key)  # what the store has now, which may be more than was kept last
        registry.put(key, known._replace(behaviour=lately or known.behaviour))
    found = registry.find_similar_functions(meant, top=asked.top)
    names = {record.key: short_name(record, records) for record in records if record.key in {f.function for f in found}}
    return views.document(
        "similar",
        at=asked.now,
        store=store.url,
        function=told,
        similar=[_row(each, names.get(each.function, str(each.function))) for each in found],
        known=len(registry),
        outcomes=registry.weights.n,
        refused={str(key): why for key, why in registry.refused.items()},
    )


def _row(each: SimilarFunction, short: str) -> Document:
    return {
        "name": short,
        "id": str(each.function),
        "helps": views.estimate(each.helps),
        "sources": [
            {
                "source": told.source,
                "likeness": told.likeness,
                "doubt": told.doubt,
                "weight": told.weight,
                "words": told.words,
            }
            for told in each.told
        ],
        "sentences": list(each.sentences),
    }
