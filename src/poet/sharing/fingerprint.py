"""The fingerprint of a function, from its code and from what it declares: hashed features, and no text."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from poet.errors import ConfigurationError
from poet.model.execution import LONGEST_TEXT
from poet.model.fixed import base_of
from poet.model.likeness import Declared, Features, Fingerprint
from poet.model.tunable import Value
from poet.seams import FunctionRecord
from poet.sharing.lexicon import notions
from poet.sharing.stems import COMMON, digest, parts, stem

MOST_WORDS = 120  # features of names and docstring; the weightiest are kept
MOST_TYPES = 48
MOST_TUNABLES = 12
MOST_OPTIONS = 6  # of a tunable that is one of several
LONGEST_DOC = 4000  # characters of a docstring that are looked at
LONGEST_SIGNATURE = 20_000  # characters of a signature that is given as text
OPERATIONAL = frozenset(("timeout", "retries", "backoff", "hedges", "hedge_delay"))  # every function has them
NAME, MODULE, PARAMETER, FIRST, FURTHER = 3.0, 1.0, 0.7, 1.6, 0.5  # weights of a word by where it stands
NOTION, LETTERS = 1.0, 0.25  # weights of what it means and of its runs of letters, relative to the word's own
RUN = 4  # letters
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NO_TYPES = frozenset(("annotated", "poet", "real", "integer", "choice"))  # of annotations that declare tunables


def of_callable(function: Callable[..., Any], name: str | None = None) -> Fingerprint:
    """Of a function's names, parameters, annotations and docstring.

    name: ``module.qualname`` or a declared name, in place of its own.
    """
    own = getattr(function, "__wrapped__", function)
    full = name or f"{getattr(own, '__module__', None) or ''}.{getattr(own, '__qualname__', type(own).__qualname__)}"
    try:
        signature: inspect.Signature | None = inspect.signature(function)
    except (TypeError, ValueError):  # of functions in C that do not say
        signature = None
    parameters = (
        []
        if signature is None
        else [
            (
                each.name,
                _spelt(each.annotation),
                "" if each.default in (each.empty, None) else type(each.default).__name__,
            )
            if not _is_odd(each.default)
            else (each.name, _spelt(each.annotation), "")
            for each in signature.parameters.values()
            if each.name not in ("self", "cls")
        ]
    )
    gives = "" if signature is None else _spelt(signature.return_annotation)
    return of_words(full, parameters, gives, doc_of(function))


def doc_of(function: Callable[..., Any]) -> str:
    """Its docstring; empty where it has none."""
    try:
        return inspect.getdoc(function) or ""
    except Exception:  # noqa: BLE001 - a descriptor of the user's may raise anything
        return ""


def _is_odd(default: object) -> bool:
    """Whether comparing it may not give a plain truth, as of arrays."""
    return not isinstance(
        default, bool | int | float | str | bytes | tuple | list | dict | set | frozenset | type(None) | type
    )


def of_text(text: str) -> tuple[str, Fingerprint]:
    """The name in a signature that is written as code, and its fingerprint; the code is parsed, never run.

    text: ``"fetch(url: str) -> bytes"``, or a whole ``def`` with its docstring. Raises ConfigurationError.

    >>> of_text("fetch(url: str, timeout: float = 3.0) -> bytes")[0]
    'fetch'
    """
    if len(text) > LONGEST_SIGNATURE:
        raise ConfigurationError(f"a signature of at most {LONGEST_SIGNATURE} characters is read, got {len(text)}")
    code = text.strip()
    if not re.match(r"(async\s+)?def\b|@", code):
        module, dot, _ = code.partition("(")[0].rpartition(".")
        code = f"def {code[len(module) + len(dot) :]}" if dot else f"def {code}"
        code = code if code.rstrip().endswith(":") else f"{code}:"
        code = f"{code} ..."
    else:
        module = ""
        if (
            code.rstrip().endswith(")")
            or code.rstrip().endswith(":")
            or ("\n" not in code and not code.endswith("..."))
        ):
            code = f"{code.rstrip().removesuffix(':')}: ..."
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(
            f"a signature is written as code, as 'fetch(url: str) -> bytes', got {_short(text)!r}: {error}"
        ) from None
    found = [each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    if len(found) != 1:
        raise ConfigurationError(f"a signature is of one function, as 'fetch(url: str) -> bytes', got {_short(text)!r}")
    node = found[0]
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    every += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
    parameters = [
        (each.arg, "" if each.annotation is None else ast.unparse(each.annotation), "")
        for each in every
        if each.arg not in ("self", "cls")
    ]
    gives = "" if node.returns is None else ast.unparse(node.returns)
    name = f"{module}.{node.name}" if module else node.name
    return name, of_words(name, parameters, gives, ast.get_docstring(node) or "")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _spelt(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    if hasattr(annotation, "__metadata__"):  # Annotated: the bounds in it are no types
        return _spelt(getattr(annotation, "__origin__", None))
    return getattr(annotation, "__name__", "") if isinstance(annotation, type) else str(annotation)


def of_words(name: str, parameters: Sequence[tuple[str, str, str]], gives: str, doc: str) -> Fingerprint:
    """name: of the function, with dots. parameters: name, annotation and type of the default of each. gives: the
    annotation of what it returns; empty where there is none."""
    *modules, last = [part for part in name.replace("<locals>", "").split(".") if part] or [""]
    words: dict[str, float] = {}
    for part in parts(last):
        _add(words, part, NAME, letters=True)
    for module in modules[-3:]:
        for part in parts(module):
            _add(words, part, MODULE)
    for parameter, _, _ in parameters:
        for part in parts(parameter):
            _add(words, part, PARAMETER)
    for weight, sentence in sentences(doc):
        for found in _WORD.findall(sentence):
            for part in parts(found):
                _add(words, part, weight)
    types: dict[str, float] = {}
    for parameter, annotation, default in parameters:
        hints = _hints(annotation) or ([default.lower()] if default else [])
        for hint in hints:
            _more(types, f"a:{hint}", 1.0)
            _more(types, f"{stem(parameter)}:{hint}", 1.0)
    for hint in _hints(gives):
        _more(types, f"r:{hint}", 1.5)
    return Fingerprint(words=features(words, MOST_WORDS), types=features(types, MOST_TYPES))


def sentences(doc: str) -> list[tuple[float, str]]:
    """The first paragraph's first sentence, and the rest, each with its weight per word; without doctests."""
    lines = [line for line in doc[:LONGEST_DOC].splitlines() if not line.lstrip().startswith((">>>", "..."))]
    text = "\n".join(lines)
    first, _, rest = text.strip().partition("\n\n")
    if "->" in first.partition("\n")[0] or re.match(r"[\w.]+\(", first):  # a signature, as functions in C have it
        first, _, rest = rest.partition("\n\n")
    head, _, tail = first.partition(". ")
    return [(FIRST, head), (FURTHER, tail), (FURTHER, rest)]


def _add(words: dict[str, float], word: str, weight: float, *, letters: bool = False) -> None:
    if len(word) < 2 or word in COMMON or word.isdigit():
        return
    root = stem(word)
    _more(words, root, weight)
    known = notions().get(root, ())
    for number in known:
        _more(words, f"={number}", weight * NOTION / math.sqrt(len(known)))
    if letters:
        padded = f"^{word}$"
        runs = {padded[i : i + RUN] for i in range(len(padded) - RUN + 1)}
        for run in runs:
            _more(words, f"~{run}", weight * LETTERS)


def _more(found: dict[str, float], name: str, weight: float) -> None:
    found[name] = found.get(name, 0.0) + weight


def _hints(annotation: str) -> list[str]:
    found = [each.lower() for each in _NAME.findall(annotation.replace("typing.", ""))]
    return [each for each in found if each not in _NO_TYPES][:8]


def features(weighted: Mapping[str, float], most: int) -> Features:
    """Hashed, the weightiest ``most``; weights damped by a logarithm and brought to 1 .. 255."""
    if not weighted:
        return ()
    damped = {name: math.log1p(weight) for name, weight in weighted.items()}
    kept = sorted(damped.items(), key=lambda each: (-each[1], each[0]))[:most]
    top = kept[0][1]
    hashed: dict[int, int] = {}
    for name, weight in kept:
        number = digest(name)
        hashed[number] = max(hashed.get(number, 0), max(1, round(255 * weight / top)))
    return tuple(sorted(hashed.items()))


def declared_by(record: FunctionRecord) -> tuple[int, tuple[Declared, ...]]:
    """The domain, and the tunables of the function's own, as digests, kinds and ranges."""
    domain = digest(f"domain:{record.domain}") if record.domain else 0
    return domain, tunables(record.declared, record.space, record.choices)


def tunables(
    declared: Mapping[str, Value],
    space: Mapping[str, Sequence[float]],
    choices: Mapping[str, Sequence[Value]] = MappingProxyType({}),
) -> tuple[Declared, ...]:
    """Those of the function's own; a bound that is no finite number makes it one without a range."""
    found = []
    for name in sorted({base_of(each) for each in (*space, *choices)} - OPERATIONAL)[:MOST_TUNABLES]:
        if name in choices:
            options = tuple(sorted(digest(f"option:{each}") for each in choices[name])[:MOST_OPTIONS])
            found.append(Declared(digest(f"tunable:{name}"), 2, 0.0, float(len(choices[name])), options))
            continue
        low, high = (float(each) for each in tuple(space[name])[:2])
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            low, high = 0.0, 0.0
        value = declared.get(name)
        kind = 1 if isinstance(value, int) and not isinstance(value, bool) else 0
        found.append(Declared(digest(f"tunable:{name}"), kind, low, high))
    return tuple(sorted(found))
