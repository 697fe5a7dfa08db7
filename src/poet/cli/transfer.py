"""What ``poet export`` and ``poet import`` do: gather, hand to ``views``, return the document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, cast

from poet.cli import views
from poet.cli.arguments import UsageError
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.exchange import merge, package, table
from poet.exchange.document import MOST_BYTES, BadPackage
from poet.exchange.files import replacing
from poet.exchange.merge import Readable, Receiving, Verdict
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.seams import Store
from poet.stores import legacy_json
from poet.stores.legacy_json import BadLine, Told

SUFFIXES: dict[str, table.Format] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".csv": "csv",
}
LISTED = 20  # lines of a file that are named because they cannot be used
BATCH = 5000  # executions that are handed to the store at a time
BESIDE = 1.0  # between two moments that the original noted of one call, at most [s]


class Export(NamedTuple):
    """What is to leave."""

    now: float  # Unix time [s]
    written_by: str
    functions: tuple[str, ...] = ()
    output: Path | None = None
    executions: bool = False
    everything: bool = False
    format: str | None = None
    since: float | None = None  # how far back [s]


class Import(NamedTuple):
    """What is to come in."""

    now: float  # Unix time [s]
    author: str
    store: str  # its URL, as it is configured
    paths: tuple[Path, ...]
    named: bool = True  # whether a person named them, so that each must be there
    dry: bool = False
    force: bool = False


# --- export ----------------------------------------------------------------------------------------------------------


def check_export(asked: Export) -> None:
    """Raises UsageError where its options do not belong together."""
    if not asked.executions:
        for option, given in (("--format", asked.format), ("--since", asked.since), ("--all", asked.everything)):
            if given:
                raise UsageError(f"{option} is about executions: say --executions, too; parameters need none of it")
        return
    if bool(asked.functions) == asked.everything:
        raise UsageError("export --executions takes the names of functions, or --all of them")
    if asked.output is None:
        raise UsageError("export --executions needs --output FILE")
    if _format(asked.format, asked.output) in table.NEED_ARROW and find_spec("pyarrow") is None:
        raise UsageError('this format needs pyarrow: pip install "poet-runtime[arrow]"; jsonl and csv do without')


def _format(said: str | None, output: Path) -> table.Format:
    if said is not None:
        return cast(table.Format, said)
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"the ending of {output.name!r} names no format; say --format {'|'.join(table.FORMATS)}")
    return SUFFIXES[suffix]


def export(store: Store, asked: Export) -> Document:
    """Parameters as a package, or executions as a table.

    Raises UnknownFunction, AmbiguousFunction, BadPackage and Unwritable.
    """
    records = store.functions()
    wanted = [find(name, records) for name in asked.functions] if asked.functions else records
    wanted = list({record.key: record for record in wanted}.values())
    named = [views.identity(record, short_name(record, records)) for record in wanted]
    if asked.executions:
        assert asked.output is not None
        format_ = _format(asked.format, asked.output)
        since = 0.0 if asked.since is None else asked.now - asked.since
        rows = table.write(table.rows(store, wanted, since=since), asked.output, format_)
        return views.exported_executions(named, output=str(asked.output), form=format_, rows=rows)
    packed = [
        package.Packaged(record, store.standing(record.key).live, store.load_learner(record.key)) for record in wanted
    ]
    text = package.write(packed, written_by=asked.written_by, created=asked.now)
    read = package.read(text.encode("ascii"), "the package")  # nothing leaves that nobody could take in
    if asked.output is not None:
        with replacing(asked.output) as partial:
            partial.write_text(text, encoding="ascii")
    return views.exported_parameters(
        named,
        [(packaged.live, packaged.state is not None) for packaged in read.functions],
        output=None if asked.output is None else str(asked.output),
        package=json.loads(text) if asked.output is None else None,
    )


# --- import ----------------------------------------------------------------------------------------------------------


def take_in(asked: Import, opening: Callable[[], Store], readable: Readable) -> Document:
    """A package, or what the original POET left, into a store. Raises BadPackage and StoreError.

    Whatever can be refused without the store is refused before it is opened.
    """
    files = [file for path in asked.paths for file in _files(path, named=asked.named)]
    if not files:
        return _document(asked, asked.store, [], [], [])
    found = next(((file, data) for file in files if (data := _package_bytes(file)) is not None), None)
    if found is not None:
        file, data = found
        read = package.read(data, file.name)
        store = opening()
        try:
            receiving = Receiving(file.name, asked.author, readable, asked.force)
            verdicts = [(file, verdict) for verdict in merge.take_in(store, read, receiving, dry=asked.dry)]
            return _document(asked, store.url, [views.source(file, "package")], verdicts, [])
        finally:
            store.close()
    store = opening()
    try:
        return _take_in_legacy(asked, store, files, readable)
    finally:
        store.close()


def _files(path: Path, *, named: bool) -> list[Path]:
    """The files to look at. Raises BadPackage where they cannot be found, or a path that was named is not there."""
    try:
        if named and not path.exists():
            raise BadPackage(str(path), "no such file or folder")
        return legacy_json.find_files(path)
    except OSError as error:
        raise BadPackage(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _package_bytes(file: Path) -> bytes | None:
    """The bytes of what is, or should be, a package; None for a file of the original. Raises BadPackage."""
    kind = legacy_json.kind_of(file)
    if kind in ("executions", "sums"):
        return None
    most = legacy_json.LARGEST_PARAMETERS if kind else MOST_BYTES
    try:
        with file.open("rb") as opened:
            data = opened.read(most + 1)
    except OSError as error:
        if kind:  # its reader says so
            return None
        raise BadPackage(str(file), f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    return None if kind and b'"format_version"' not in data else data


def _take_in_legacy(asked: Import, store: Store, files: Sequence[Path], readable: Readable) -> Document:
    by_kind = {kind: [file for file in files if legacy_json.kind_of(file) == kind] for kind in views.LEGACY_KINDS}
    sources = [views.source(file, kind) for kind, found in by_kind.items() for file in found]
    parameters = merge.settled(lambda: _take_in_parameters(asked, store, by_kind["parameters"], readable))
    told: list[Document] = []
    spans: dict[FunctionKey, tuple[float, float]] = {}
    # The history may tell of calls that the metrics tell of, too: those first, as they say more.
    for file in sorted(by_kind["executions"], key=lambda file: file.name == legacy_json.HISTORY):
        intake = _Intake(store, file, spans, dry=asked.dry)
        for line in _lines(file):
            intake.add(line)
        told.append(intake.finish())
    return _document(asked, store.url, sources, parameters, told)


def _take_in_parameters(
    asked: Import, store: Store, files: Sequence[Path], readable: Readable
) -> list[tuple[Path, Verdict | str]]:
    records = store.functions()
    verdicts: list[tuple[Path, Verdict | str]] = []
    targets: set[FunctionKey] = set()
    for file in files:
        record, why_not = legacy_json.match_file(file, records)
        if record is None:
            verdicts.append((file, why_not))
            continue
        if record.key in targets:
            verdicts.append((file, "another file was taken for this function: the project's goes first"))
            continue
        try:
            found = legacy_json.read_parameters(file, declared=record.declared, space=record.space)
        except OSError as error:
            verdicts.append((file, f"it cannot be read: {(error.strerror or str(error)).lower()}"))
            continue
        receiving = Receiving(str(file), asked.author, readable, asked.force)
        verdict = merge.judge_legacy(found, record, store.standing(record.key), receiving)
        verdicts.append((file, verdict))
        if verdict.taken:
            targets.add(record.key)
    coming = [v.incoming for _, v in verdicts if isinstance(v, Verdict) and v.incoming is not None]
    if coming and not asked.dry:
        store.bring_in(coming)
    return verdicts


class _Intake:
    """Takes in the executions of one file, a batch at a time."""

    def __init__(self, store: Store, file: Path, spans: dict[FunctionKey, tuple[float, float]], *, dry: bool) -> None:
        """spans: by function from when to when files of metrics told of its calls; ``finish`` adds this one's."""
        self._store, self._file, self._spans, self._dry = store, file, spans, dry
        self._records = store.functions()
        self._is_history = file.name == legacy_json.HISTORY
        self._matches: dict[tuple[str, str | None, bool], legacy_json.Match] = {}
        self._waiting: dict[FunctionKey, list[Execution]] = {}
        self._used: Counter[FunctionKey] = Counter()
        self._left: Counter[str] = Counter()
        self._bad = 0
        self._named: list[BadLine] = []
        self._moments: dict[FunctionKey, tuple[float, float]] = {}

    def add(self, line: Told | BadLine) -> None:
        """One line. Raises StoreError."""
        if isinstance(line, BadLine):
            self._bad += 1
            if len(self._named) < LISTED:
                self._named.append(line)
            return
        about = line.function, line.domain, line.domain_known
        match = self._matches.get(about)
        if match is None:
            match = self._matches[about] = legacy_json.match_told(line, self._records)
        if match.record is None:
            self._left[match.why_not] += 1
            return
        key, started = match.record.key, line.execution.started
        if self._is_history and key in self._spans:
            first, last = self._spans[key]
            if first - BESIDE <= started <= last + BESIDE:
                self._left["the metrics tell of these calls already"] += 1
                return
        self._moments[key] = _wider(self._moments.get(key), (started, started))
        self._used[key] += 1
        self._waiting.setdefault(key, []).append(line.execution)
        if len(self._waiting[key]) >= BATCH:
            self._hand_over(key)

    def finish(self) -> Document:
        """Hand over the rest, and tell. Raises StoreError."""
        for key in list(self._waiting):
            self._hand_over(key)
        if not self._is_history:
            for key, span in self._moments.items():
                self._spans[key] = _wider(self._spans.get(key), span)
        before = {record.key: record.calls for record in self._records}
        after = {record.key: record.calls for record in self._store.functions()}
        used = [
            {"name": key.name, "id": str(key), "executions": n, "new": None if self._dry else after[key] - before[key]}
            for key, n in self._used.items()
        ]
        left = [{"executions": n, "why": why} for why, n in self._left.items()]
        return views.told(self._file, used, left, [bad._asdict() for bad in self._named], bad=self._bad)

    def _hand_over(self, key: FunctionKey) -> None:
        executions = self._waiting.pop(key)
        if not self._dry:
            self._store.append(key, executions)


def _wider(span: tuple[float, float] | None, other: tuple[float, float]) -> tuple[float, float]:
    return other if span is None else (min(span[0], other[0]), max(span[1], other[1]))


def _lines(file: Path) -> Iterator[Told | BadLine]:
    try:
        yield from legacy_json.read_executions(file)
    except OSError as error:
        yield BadLine(0, f"the file cannot be read: {(error.strerror or str(error)).lower()}")


def _document(
    asked: Import,
    store: str,
    sources: Sequence[Document],
    verdicts: Iterable[tuple[Path, Verdict | str]],
    told: Sequence[Document],
) -> Document:
    return views.imported(
        asked.now,
        store,
        [_part(file, verdict) for file, verdict in verdicts],
        sources=sources,
        executions=told,
        paths=[str(path) for path in asked.paths],
        dry=asked.dry,
    )


def _part(file: Path, verdict: Verdict | str) -> Document:
    if isinstance(verdict, str):
        return views.left(file, verdict)
    return views.judged(
        file,
        verdict.key,
        taken=verdict.taken,
        why=verdict.why,
        notes=verdict.notes,
        before=verdict.before,
        after=verdict.after,
        knowledge=verdict.knowledge,
    )
