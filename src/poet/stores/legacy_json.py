"""What the original POET left on disk: parameters it learned, executions it recorded. Read, and never touched.

Its files were written without a lock and without a temporary file, so any of them may be empty, torn or full of half
lines. Every good value and line is used; each of the others is named with the reason. Standard library only, and
nothing is loaded before a file is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from poet.model.execution import LONGEST_TEXT, Attempt, Context, Execution, Outcome
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord
from poet.stores.fitting import fit, is_number, shown
from poet.stores.legacy_files import HOME, PARAMETERS, PROJECT, parameters_name

METRICS = "metrics"  # folder of executions, below both
HISTORY, EXECUTIONS, SUMS = "performance_history.jsonl", "poe_metrics_", "current_metrics.json"

LARGEST_PARAMETERS = 1 << 16  # bytes of a parameter file; those of the original have a hundred
MOST_PARAMETERS = 100  # in a file; the original had two, and a plug-in's few
LONGEST_LINE = 1 << 16  # bytes of a line; those of the original have some three hundred
LONGEST_CALL = 1e9  # [s]
LAST_MOMENT = 253_402_300_799.0  # the end of the year 9999, Unix time [s]
MOST_ATTEMPTS = 1_000_000

_USUAL: Mapping[str, Value] = {"timeout": 30.0, "retries": 3}  # the parameters that every function had


class LegacyParameters(NamedTuple):
    """What the original had learned of a function."""

    values: Mapping[str, Value]  # empty: the file is there, and nothing in it can be used
    file: Path
    notes: tuple[str, ...]  # what was left out or changed, and why


class BadLine(NamedTuple):
    """A line that cannot be used."""

    number: int  # from 1
    why: str


class Told(NamedTuple):
    """An execution that the original recorded."""

    function: str  # its bare name
    domain: str | None
    domain_known: bool  # whether the line says which domain, or that there is none
    execution: Execution


# --- parameters ------------------------------------------------------------------------------------------------------


def legacy_parameters(
    function_name: str,
    domain: str | None,
    root: Path,
    home: Path,
    *,
    declared: Mapping[str, Value] | None = None,
    space: Mapping[str, Sequence[float]] | None = None,
) -> LegacyParameters | None:
    """What the original had learned of a function; None where it left no file. Never raises.

    function_name: bare or qualified. root, home: the project's folder, and the user's; the project's file, the newer
    kind, goes first. declared, space: the function's parameters and their hard bounds; values are brought to them.
    Costs two looks into folders where there is no file.
    """
    name = parameters_name(function_name, domain)
    if name is None:
        return None
    for folder in (root / PROJECT, home / HOME):
        try:
            found = read_parameters(folder / name, declared=declared, space=space)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:  # ValueError: a path that no system can have
            return LegacyParameters({}, folder / name, (f"it cannot be read ({_said(error)})",))
        return found
    return None


def read_parameters(
    path: Path,
    *,
    declared: Mapping[str, Value] | None = None,
    space: Mapping[str, Sequence[float]] | None = None,
) -> LegacyParameters:
    """The parameters in a file of the original, flat or in the envelope of its documents. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(LARGEST_PARAMETERS + 1)
    if len(data) > LARGEST_PARAMETERS:
        return LegacyParameters({}, path, (f"it has more than {LARGEST_PARAMETERS} bytes: no file of the original",))
    if not data.strip(b"\0 \t\r\n"):
        return LegacyParameters({}, path, ("it is empty: the original was writing it, or ended while it did",))
    try:
        found = _object(data)
    except ValueError as error:
        return LegacyParameters({}, path, (f"it is torn, or no JSON ({error})",))
    enveloped = found.get("parameters")
    if isinstance(enveloped, dict):
        found = enveloped
    if not found:
        return LegacyParameters({}, path, ("it holds no parameters",))
    if len(found) > MOST_PARAMETERS:
        return LegacyParameters({}, path, (f"it holds {len(found)} values: no file of the original",))
    values, notes = fit(found, _USUAL if declared is None else declared, space)
    return LegacyParameters(values, path, notes)


def draft_of(found: LegacyParameters, live: Mapping[str, Value]) -> ParameterSet | None:
    """What the original had learned, as a version to follow ``live``; None where that would change nothing."""
    values = {**live, **found.values}
    if values == dict(live):
        return None
    notes = f" ({'; '.join(found.notes)})" if found.notes else ""
    return ParameterSet(values_=values, origin="import", reason=f"learned by the original POET: {found.file}{notes}")


# --- executions ------------------------------------------------------------------------------------------------------


def read_executions(path: Path) -> Iterator[Told | BadLine]:
    """The executions in a file of the original, of either kind, line by line. Raises OSError.

    An execution's writer is named after the file and its first line, its sequence is the number of the line: so what
    was taken in once is known again, also when the file has grown or was moved.
    """
    with path.open("rb") as file:
        writer = ""
        for number, line in enumerate(_lines(file), 1):
            writer = writer or _writer(path.name, line)
            if len(line) > LONGEST_LINE:
                yield BadLine(number, f"it has more than {LONGEST_LINE} bytes")
            elif line.strip(b"\0 \t\r\n"):
                yield from _told(line.removeprefix(b"\xef\xbb\xbf"), number, writer)


def _lines(file: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, each cut one byte behind the longest that is read; so a file without line ends fills no memory."""
    readline = file.readline  # type: ignore[attr-defined]
    while line := readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = readline(LONGEST_LINE + 1)
        yield line


def _writer(name: str, first_line: bytes) -> str:
    from hashlib import blake2b

    return f"ancestor-{blake2b(name.encode('utf-8', 'surrogateescape') + b'/' + first_line, digest_size=6).hexdigest()}"


_STARTS = (b'{"function_name"', b'{"timestamp"')


def _told(line: bytes, number: int, writer: str) -> Iterator[Told | BadLine]:
    """The execution of a line; of one on which two were written, as the first was torn, the last."""
    try:
        yield _execution(_object(line), number, writer)
    except ValueError as error:
        yield BadLine(number, str(error))
    else:
        return
    at = max(line.rfind(start) for start in _STARTS)
    if at > 0:
        try:
            yield _execution(_object(line[at:]), number, writer)
        except ValueError:  # the line was named already
            return


def _execution(row: Mapping[str, Any], number: int, writer: str) -> Told:
    """A row of either kind. Raises ValueError where what an execution needs is missing or impossible.

    Nothing is made up. The original told how long a call took in all, pauses included, and how many attempts it made,
    which for failed calls is wrong: so only a success at the first attempt says how long an attempt took (its stage
    ``operate``, where it was timed), and of all others the attempts are unknown. It enforced no timeout, so a
    TimeoutError was the function's own. Which parameters a call had used, and what its answer was worth to anybody, it
    did not know.
    """
    function = row.get("function_name")
    if not isinstance(function, str) or not function:
        raise ValueError(f"function_name must be a text that is not empty, got {shown(function)}")
    success = row.get("success")
    if not isinstance(success, bool):
        raise ValueError(f"success must be true or false, got {shown(success)}")  # noqa: TRY004 - for the line's reader
    seconds = row.get("total_time", row.get("execution_time"))
    if not is_number(seconds) or not 0 <= seconds <= LONGEST_CALL:
        raise ValueError(f"its duration must be in [0, {LONGEST_CALL:g}] seconds, got {shown(seconds)}")
    attempts = row.get("attempts")
    if attempts is not None and (
        isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= MOST_ATTEMPTS
    ):
        raise ValueError(f"attempts must be a whole number >= 1, got {shown(attempts)}")
    domain = row.get("domain")
    if domain is not None and not isinstance(domain, str):
        raise ValueError(f"domain must be a text, got {shown(domain)}")
    error = row.get("error_type")
    if error is not None and not isinstance(error, str):
        raise ValueError(f"error_type must be a text, got {shown(error)}")
    outcome = Outcome.SUCCESS if success else Outcome.ERROR
    operate = row.get("operate_time")
    alone = operate if is_number(operate) and 0 <= operate <= seconds else seconds
    context: Context = (("attempts", attempts),) if success and attempts is not None and attempts > 1 else ()
    execution = Execution(
        writer,
        number - 1,
        _moment(row.get("timestamp")),
        float(seconds),
        outcome,
        0,
        (Attempt(outcome, float(alone)),) if success and attempts == 1 else (),
        "" if success else _text(error or ""),
        context,
    )
    return Told(_text(function), domain or None, "domain" in row, execution)


def _moment(timestamp: object) -> float:
    """A Unix time [s], or the local time of day that the history has. Raises ValueError."""
    moment = math.nan
    if isinstance(timestamp, str):
        from datetime import datetime

        try:
            moment = datetime.fromisoformat(timestamp).timestamp()
        except (OverflowError, OSError):
            moment = math.nan
    elif is_number(timestamp):
        moment = float(timestamp)
    if not 0 < moment <= LAST_MOMENT:
        raise ValueError(f"timestamp must be a moment since 1970, got {shown(timestamp)}")
    return moment


def _text(text: str) -> str:
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()


# --- both ------------------------------------------------------------------------------------------------------------


def find_files(path: Path) -> list[Path]:
    """The original's files: ``path`` itself, or those in the folder ``path``, in its ``metrics`` and in its ``.poet``.

    Raises OSError where a folder cannot be read.
    """
    if not path.is_dir():
        return [path] if path.exists() else []
    folders = [path, path / METRICS, path / PROJECT, path / PROJECT / METRICS]
    return [
        file
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if kind_of(file) is not None and file.is_file()
    ]


def kind_of(file: Path) -> str | None:
    """What a file of the original holds, by its name: ``parameters``, ``executions`` or ``sums``; None: it is none."""
    name = file.name
    if name.endswith(PARAMETERS):
        return "parameters"
    if name == HISTORY or (name.startswith(EXECUTIONS) and name.endswith(".jsonl")):
        return "executions"
    return "sums" if name == SUMS else None


class Match(NamedTuple):
    """Which function of a store something is about."""

    record: FunctionRecord | None
    why_not: str  # where there is none, or no single one


def match_file(file: Path, records: Sequence[FunctionRecord]) -> Match:
    """The function whose parameters the original kept in ``file``."""
    return _single(
        [r for r in records if parameters_name(r.key.qualname, r.domain) == file.name],
        "no function that was called so far has this name and domain",
    )


def match_told(told: Told, records: Sequence[FunctionRecord]) -> Match:
    """The function that made an execution; by its domain, too, where the line tells of it."""
    named = [r for r in records if r.key.qualname.rpartition(".")[2] == told.function.rpartition(".")[2]]
    fitting = [r for r in named if not told.domain_known or (r.domain or None) == told.domain]
    if named and not fitting:
        domain = f"the domain {told.domain!r}" if told.domain else "no domain"
        return Match(None, f"{told.function} had {domain} then, it is another now")
    return _single(fitting, f"no function {told.function!r} was called so far")


def _single(found: Sequence[FunctionRecord], nobody: str) -> Match:
    names = {record.key.name for record in found}
    if len(names) == 1:  # several signatures of one function: the one in use
        return Match(max(found, key=lambda record: record.last_call), "")
    if not names:
        return Match(None, nobody)
    return Match(None, f"it may be about any of {', '.join(sorted(names))}: which one is not guessed")


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError, with a short reason, where ``data`` is none."""
    import json  # needed only where there is a file

    try:
        found = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 text at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg.lower().removesuffix(' at')} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"a mapping was expected, got {shown(found)}")  # noqa: TRY004 - as for all that is no object
    return found


def _said(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
