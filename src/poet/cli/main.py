"""The program ``poet``: what functions learned, why, and how to steer it."""

from __future__ import annotations

import json
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from poet.cli import alike, commands, doctor, experiment_words, flags, releases, rollback, views
from poet.cli.arguments import CHANGES, UsageError, command_of, parse
from poet.cli.commands import Asked
from poet.cli.views import Document
from poet.cli.words import printable, sayable
from poet.errors import PoetError, StoreUnavailable
from poet.seams import SYSTEM_CLOCK, Clock, FunctionRecord, Store
from poet.settings import Settings, is_served, person, shown_store, store_path

if TYPE_CHECKING:
    from poet.cli.analysis import Analyze
    from poet.cli.transfer import Export

DONE, NEGATIVE, ERROR = 0, 1, 2
INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended
DEMO_PACKAGES = ("httpx", "starlette", "uvicorn")
ORDERS = ("rollback", "pause", "resume")  # what a host's processes follow while a server's store is away
PATIENCE = 1.0  # time without a word after which a person wants one [s]

PER_FUNCTION: dict[str, Callable[[Store, str, Asked], Document]] = {
    "show": commands.show,
    "explain": commands.explain,
    "similar": alike.similar,
    "replay": commands.replay,
    "history": commands.history,
    "pin": commands.pin,
    "unpin": commands.unpin,
    "pause": commands.pause,
    "resume": commands.resume,
}


def main(argv: list[str] | None = None, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """Run one command and return its exit code; see ``arguments.EXIT_CODES``. Nothing is raised.

    argv: the words after the program's name; None: those of this process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in words
    try:
        return _run(words, clock)
    except SystemExit as leaving:  # argparse printed the help or the release
        return leaving.code if isinstance(leaving.code, int) else ERROR
    except PoetError as error:
        return _refuse(command_of(words), type(error).__name__, str(error), as_json)
    except BrokenPipeError:  # the reader, ``head`` say, has seen enough
        # Python flushes once more at the end; there is no one left to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence, never a traceback
        said = f"unexpected fault, please report it: {_trace(error)}"
        return _refuse(command_of(words), type(error).__name__, said, as_json)


def _trace(error: Exception) -> str:
    """Kind, text and place of a fault in one line."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno})" if place is not None else ""
    return f"{type(error).__name__}: {error}{where}"


def _refuse(command: str | None, kind: str, message: str, as_json: bool) -> int:
    line = printable(message)
    sys.stderr.write(_sayable(f"poet: {line}\n", sys.stderr))
    if as_json and command != "demo":
        _print_json(views.document(command or "", error={"kind": kind, "message": line}))
    return ERROR


def _run(words: Sequence[str], clock: Clock) -> int:
    command = command_of(words)
    if command == "demo" and words[0] == "demo":
        return _demo(list(words[1:]))
    asked = parse(words, doctor.poet_version())
    if asked.command == "demo":
        raise UsageError("options of the demo stand behind the word demo")
    url: str | None = getattr(asked, "store", None)
    as_json: bool = getattr(asked, "json", False)
    now = clock.wall()
    if asked.command == "analyze" and asked.every is not None:
        return _every_so_often(asked, Settings.load(store=url) if url else Settings.load(), clock, as_json=as_json)
    confirm = _confirmed if _asks(asked) else None
    with nullcontext() if confirm else progress(f"poet: still at work on {asked.command} ...", sys.stderr):
        if asked.command == "doctor":
            doc = doctor.examine(url, _open_to_read, environ=os.environ, start=Path.cwd(), now=now)
        else:
            settings = Settings.load(store=url) if url else Settings.load()
            if asked.command == "import":
                doc = _take_in(asked, settings, now)
            elif asked.command == "flags":
                doc = _by_itself(flags.run, asked, settings, now)
            elif asked.command == "releases":
                doc = _by_itself(releases.run, asked, settings, now)
            else:
                told = _asked(asked, settings, now)
                if asked.command == "rollback":
                    told = told._replace(rollback=rollback.asked(asked, now, confirm))
                if told.analyze is not None and told.analyze.tables:
                    from poet.cli import analysis

                    doc = analysis.of_tables(told.analyze)
                else:
                    doc = _ask_store(asked.command, getattr(asked, "function", None), settings, told)
    if as_json:
        _print_json(doc)
    elif doc["command"] == "export" and doc["output"] is None:
        _print_json(doc["package"])  # as it is, for a pipe or a file
    else:
        _print_page(doc)
    return NEGATIVE if doc.get("ok") is False else DONE


def _asked(words: Namespace, settings: Settings, now: float) -> Asked:
    return Asked(
        now=now,
        reason=getattr(words, "reason", ""),
        values=tuple(getattr(words, "values", ())),
        action=getattr(words, "action", None),
        keep_executions=settings.keep_executions,
        keep_hours=settings.keep_hours,
        top=getattr(words, "top", 5),
        last=getattr(words, "last", None),
        since=getattr(words, "since", None),
        export=_export(words, now) if getattr(words, "command", None) == "export" else None,
        analyze=_analyze(words, now) if getattr(words, "command", None) == "analyze" else None,
        experiment=experiment_words.wanted(words) if words.command == "experiment" else None,
    )


def _analyze(words: object, now: float) -> Analyze:
    from poet.cli import analysis  # here: only this command needs it

    asked = analysis.Analyze(
        now=now,
        function=getattr(words, "function", None),
        since=getattr(words, "since", None),
        tables=tuple(getattr(words, "tables", None) or ()),
        engine=getattr(words, "engine", "local"),
        workers=getattr(words, "workers", None),
        address=getattr(words, "address", None),
        alarms=getattr(words, "false_alarms", 0.01),
        costs=None if (costs := getattr(words, "costs", None)) is None else (costs[0], costs[1], costs[2]),
        zone=getattr(words, "zone", ""),
        top=getattr(words, "top", 20),
        apply=getattr(words, "apply", False),
        reason=getattr(words, "reason", ""),
        dependencies=tuple(pair for told in getattr(words, "dependencies", None) or () for pair in told),
        every=getattr(words, "every", None),
    )
    analysis.check(asked)
    return asked


def _every_so_often(words: Namespace, settings: Settings, clock: Clock, *, as_json: bool) -> int:
    """Analyse again and again; an interrupt ends it."""
    from poet.cli import analysis

    def ask(asked: Analyze) -> Document:
        told = _asked(words, settings, asked.now)._replace(analyze=asked)
        return _ask_store("analyze", asked.function, settings, told)

    def show(doc: Document) -> None:
        (_print_json if as_json else _print_page)(doc)
        sys.stdout.flush()

    def say(text: str) -> None:
        sys.stderr.write(_sayable(f"poet: {printable(text)}\n", sys.stderr))
        sys.stderr.flush()

    def wait(seconds: float) -> bool:
        clock.sleep(seconds)
        return False

    analysis.again_and_again(settings, _analyze(words, clock.wall()), ask, show, say, clock, wait)
    return DONE


def _export(words: object, now: float) -> Export:
    from poet.cli import transfer  # here: only this and ``import`` need it

    output: str | None = getattr(words, "output", None)
    asked = transfer.Export(
        now=now,
        written_by=f"poet {doctor.poet_version()}",
        functions=tuple(getattr(words, "functions", ())),
        output=None if output is None else Path(output),
        executions=getattr(words, "executions", False),
        everything=getattr(words, "all", False),
        format=getattr(words, "format", None),
        since=getattr(words, "since", None),
    )
    transfer.check_export(asked)
    return asked


def _take_in(words: object, settings: Settings, now: float) -> Document:
    """Import into the project's store, which is made where there is none. A dry run makes none."""
    from poet.cli import transfer
    from poet.stores import legacy_files

    named: str | None = getattr(words, "path", None)
    dry: bool = getattr(words, "dry_run", False)
    home = Path(os.path.expanduser("~"))  # not Path.home(): that raises where nobody has one
    theirs = (settings.root / legacy_files.PROJECT, home / legacy_files.HOME)
    asked = transfer.Import(
        now=now,
        author=person(),
        store=shown_store(settings),
        paths=theirs if named is None else (Path(named),),
        named=named is not None,
        dry=dry,
        force=getattr(words, "force", False),
    )
    path = store_path(settings)
    if settings.store.startswith("memory"):
        advice = "name a file: POET_STORE=sqlite:///.poet/poet.db"
        raise StoreUnavailable(settings.store, "what is imported into it would be lost at once", advice)
    if dry and path is not None and not doctor.exists(path):
        return transfer.take_in(asked, _empty_store, _readable)
    return transfer.take_in(asked, lambda: (_open_to_read if dry else _open_to_change)(settings), _readable)


def _empty_store() -> Store:
    from poet.stores.memory import MemoryStore

    return MemoryStore()


def _readable(record: FunctionRecord, state: bytes) -> object:
    from poet.learners import learner_for

    return learner_for(record, state)


def _ask_store(command: str, function: str | None, settings: Settings, asked: Asked) -> Document:
    path = store_path(settings)
    if path is None and not is_served(settings):
        advice = "its functions answer f.poet.status(); for a file set POET_STORE=sqlite:///.poet/poet.db"
        raise StoreUnavailable(settings.store, "only the process that fills it can see it", advice)
    if path is not None and not doctor.exists(path):
        if command == "status":
            return views.status([], [], store=settings.store, now=asked.now)
        advice = "call a decorated function, or name another store with --store"
        raise StoreUnavailable(settings.store, "no function has been recorded yet", advice)
    wanted = asked.experiment
    seen = command == "rollout" and not asked.steps
    changes = (command in CHANGES and not seen) or (asked.analyze is not None and asked.analyze.apply)
    changes = changes or (wanted is not None and wanted.changes)
    opened = _open_to_change(settings) if changes else _open_to_read(settings)
    store = _ordering(opened, settings, asked.now) if opened.away else opened
    try:
        doc = _answer(command, function, store, settings, asked)
        return {**doc, "ordered": True} if opened.away and command in ORDERS else doc
    finally:
        opened.close()


def _answer(command: str, function: str | None, store: Store, settings: Settings, asked: Asked) -> Document:
    if command in ("status", "show"):
        asked = asked._replace(learning=flags.seen(store, settings, "learn.online"))
    if command == "status":
        return commands.status(store, asked)
    if command == "maintain":
        return commands.maintain(store, asked)
    if asked.export is not None:
        from poet.cli import transfer

        return transfer.export(store, asked.export)
    if asked.analyze is not None:
        from poet.cli import analysis

        return analysis.of_store(store, settings, asked.analyze)
    if command == "gains":
        from poet.cli import gains  # here: only this command needs it

        return gains.of_store(store, function, asked)
    if asked.experiment is not None:
        from poet.cli import experiments

        return experiments.act(store, asked.experiment, asked.now)
    if command == "rollout":
        from poet.cli import rollouts

        return rollouts.act(store, function, asked)
    if asked.rollback is not None:
        return rollback.run(store, asked.rollback)
    if function is None:
        return (commands.pause if command == "pause" else commands.resume)(store, None, asked)
    return PER_FUNCTION[command](store, function, asked)


def _ordering(store: Store, settings: Settings, now: float) -> Store:
    """A server's store that is away: what this host knew last, and orders for its processes."""
    from poet.app import local_folder
    from poet.training.orders import Orders, ordering

    host = os.uname().nodename if hasattr(os, "uname") else ""
    return ordering(store, Orders(local_folder(settings)), now=now, host=host)


def _by_itself(run: Callable[..., Document], words: object, settings: Settings, now: float) -> Document:
    """A command that may be the first to make the store."""
    path = store_path(settings)

    def there() -> bool:
        return is_served(settings) or (path is not None and doctor.exists(path))

    def to_read() -> Store:
        if not there():
            raise StoreUnavailable(settings.store, "nothing was set in it yet", "poet flags set NAME VALUE makes it")
        return _open_to_read(settings)

    return run(words, settings, now, there, to_read, lambda: _open_to_change(settings))


def _asks(words: object) -> bool:
    """Whether a person sits there who is to say yes or no."""
    if getattr(words, "command", None) != "rollback" or getattr(words, "yes", False) or getattr(words, "json", False):
        return False
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _confirmed(planned: Document) -> bool:
    _print_page(planned)
    try:
        return input("roll back? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _open_to_read(settings: Settings) -> Store:
    from poet.app import open_store  # here: help and wrong usage answer without loading it

    return open_store(settings, readonly=True)


def _open_to_change(settings: Settings) -> Store:
    from poet.app import open_store

    return open_store(settings, readonly=False)


def _demo(words: list[str]) -> int:
    missing = [name for name in DEMO_PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f'the demo needs {", ".join(missing)}: pip install "poet-runtime[demo]"')
    # By name: the demo decorates functions as users do, and the command line itself must not hang on the decorator.
    return int(import_module("poet.demo").main(words))


def _print_json(doc: Document) -> None:
    # ASCII only: no reason or name can then upset a terminal, a pipe or a reader's encoding.
    sys.stdout.write(json.dumps(views.plain(doc), indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def _print_page(doc: Document) -> None:
    from rich.console import Console  # here: programs that ask for JSON need not load it

    from poet.cli import experiment_pages, gains_pages, hand_pages, release_pages, rollout_pages
    from poet.cli.pages import show_page

    console = Console(markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        further = (hand_pages, gains_pages, experiment_pages, release_pages, rollout_pages)
        show_page(doc, console, further={k: page for each in further for k, page in each.PAGES.items()})
    page = "\n".join(line.rstrip() for line in captured.get().splitlines())  # tables fill their last column with blanks
    sys.stdout.write(_sayable(f"{page}\n", sys.stdout))
    sys.stdout.flush()


def _sayable(text: str, stream: TextIO) -> str:
    """``text`` in what the stream's encoding has."""
    return sayable(text, stream.encoding or "utf-8")


@contextmanager
def progress(text: str, stream: TextIO, patience: float = PATIENCE) -> Iterator[None]:
    """Say on ``stream`` that work goes on, once it takes longer than ``patience``, > 0 [s].

    On a terminal the line is wiped at the end, elsewhere it stays.
    """
    said = threading.Event()

    def speak() -> None:
        said.set()
        stream.write(text if stream.isatty() else f"{text}\n")
        stream.flush()

    timer = threading.Timer(patience, speak)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if said.is_set() and stream.isatty():
            stream.write("\r\x1b[2K")
            stream.flush()


if __name__ == "__main__":
    sys.exit(main())
