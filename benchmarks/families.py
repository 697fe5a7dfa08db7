"""Functions of the standard library and of installed packages, in families that behave alike: a labelled set.

A family holds four functions, of several libraries where there are, that one would tune alike: the same kind of work on
the same kind of input, so that how long it takes, what it fails by and what it can be told matter in the same way. The
labels were set before anything was measured, by that question and not by their names; the families stand in no order,
and every second one is there to tune with, the others to report on.

Nothing of these functions stands here but their names: signatures and docstrings are read when this runs, from what is
installed. ``measured`` calls each with inputs of varied size, some of them malformed, and keeps how long that took and
how it ended, never the results. Calls over a network go to a server in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import io
import json
import math
import os
import random
import shutil
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from poet.model.execution import Attempt, Execution, Outcome

FAMILIES: dict[str, tuple[str, ...]] = {
    "text to data": ("json.loads", "yaml.safe_load", "ast.literal_eval", "tomlkit.parse"),
    "data to bytes": ("pickle.dumps", "msgpack.packb", "json.dumps", "plistlib.dumps"),
    "fewer bytes": ("zlib.compress", "bz2.compress", "lzma.compress", "pyarrow.compress"),
    "digests": ("hashlib.md5", "zlib.crc32", "hashlib.blake2b", "hmac.digest"),
    "whole files": ("pathlib.Path.read_text", "linecache.getlines", "numpy.fromfile", "configparser.ConfigParser.read"),
    "what is in a folder": ("os.listdir", "glob.glob", "pathlib.Path.rglob", "os.walk"),
    "the middle of numbers": ("statistics.mean", "statistics.median", "numpy.average", "scipy.stats.trim_mean"),
    "linear systems": ("numpy.linalg.solve", "scipy.linalg.inv", "numpy.linalg.lstsq", "scipy.linalg.lu_solve"),
    "HTTP": ("httpx.get", "requests.post", "urllib.request.urlopen", "urllib3.request"),
    "find in text": ("re.findall", "fnmatch.filter", "str.find", "re.search"),
    "text to moments": (
        "datetime.datetime.fromisoformat",
        "time.strptime",
        "email.utils.parsedate_to_datetime",
        "dateutil.parser.parse",
    ),
    "try again": ("tenacity.retry", "backoff.on_exception", "stamina.retry", "google.api_core.retry.Retry"),
    "bytes to text": ("base64.b64encode", "binascii.hexlify", "urllib.parse.quote", "quopri.encodestring"),
    "put in order": ("builtins.sorted", "heapq.nsmallest", "numpy.argsort", "pandas.DataFrame.sort_values"),
    "draws": ("random.gauss", "numpy.random.normal", "secrets.randbelow", "random.choices"),
    "programs": ("subprocess.run", "os.system", "asyncio.create_subprocess_exec", "anyio.run_process"),
    "least values": (
        "scipy.optimize.minimize",
        "scipy.optimize.differential_evolution",
        "optuna.study.Study.optimize",
        "scipy.optimize.curve_fit",
    ),
    "groups of points": (
        "sklearn.cluster.KMeans.fit",
        "sklearn.cluster.DBSCAN.fit",
        "scipy.cluster.hierarchy.linkage",
        "scipy.cluster.vq.kmeans2",
    ),
    "what differs": ("difflib.unified_diff", "difflib.get_close_matches", "filecmp.cmp", "pandas.DataFrame.compare"),
    "files elsewhere": ("shutil.copyfile", "shutil.move", "os.replace", "shutil.copytree"),
    "connections": ("socket.create_connection", "asyncio.open_connection", "anyio.connect_tcp", "trio.open_tcp_stream"),
    "SQL": (
        "sqlite3.Connection.execute",
        "duckdb.sql",
        "sqlalchemy.engine.Connection.execute",
        "pandas.read_sql_query",
    ),
    "templates": ("string.Template.substitute", "str.format", "mako.template.Template.render", "textwrap.fill"),
    "frequencies": ("numpy.fft.fft", "scipy.fft.dct", "scipy.signal.periodogram", "scipy.signal.welch"),
}
NAMES = tuple(name for family in FAMILIES.values() for name in family)
FAMILY = {name: family for family, names in FAMILIES.items() for name in names}
TUNED = tuple(name for k, family in enumerate(FAMILIES.values()) if k % 2 == 0 for name in family)
REPORTED = tuple(name for k, family in enumerate(FAMILIES.values()) if k % 2 == 1 for name in family)


def found(name: str) -> Callable[..., Any]:
    """The function of that name, imported. Raises ImportError."""
    parts = name.split(".")
    if parts[0] in ("str", "bytes"):
        parts = ["builtins", *parts]
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[cut:]:
                thing = getattr(thing, part)
        except AttributeError:
            continue
        return thing  # type: ignore[no-any-return]
    raise ImportError(f"no function {name!r}")


TWINS = (("math", "numpy"), ("numpy.linalg", "scipy.linalg"), ("numpy.fft", "scipy.fft"))


def namesakes() -> list[tuple[str, str]]:
    """Functions that two libraries call by the same name, and that do the same: labels that nobody has set by hand."""
    pairs = []
    for one, other in TWINS:
        left, right = (vars(importlib.import_module(each)) for each in (one, other))
        for name in sorted(left):
            both = left[name], right.get(name)
            if (
                not name.startswith("_")
                and all(callable(f) and inspect.getdoc(f) for f in both)
                and both[0] is not both[1]
            ):
                pairs.append((f"{one}.{name}", f"{other}.{name}"))
    return pairs


class Inputs:
    """What the functions are called with; one for each run, as it holds a folder and a server."""

    def __init__(self, folder: Path, url: str, port: int, seed: int) -> None:
        self.folder, self.url, self.port, self.dice = folder, url, port, random.Random(seed)
        for k in range(24):
            (folder / f"file{k}.txt").write_text("[a]\nb = 1\n" + f"line {k} = of text\n" * 40, encoding="utf-8")

    def size(self, low: int = 20, high: int = 2000) -> int:
        return round(math.exp(self.dice.uniform(math.log(low), math.log(high))))

    def data(self) -> dict[str, Any]:
        return {f"k{k}": [k, str(k), {"x": k / 7}] for k in range(self.size(4, 120))}

    def text(self) -> str:
        return " ".join(self.dice.choice(("alpha", "beta", "gamma", "file.txt")) for _ in range(self.size()))

    def bytes(self) -> bytes:
        return self.text().encode()

    def numbers(self) -> list[float]:
        return [self.dice.gauss(0, 1) for _ in range(self.size())]

    def spoilt(self, text: str) -> str:
        return text if self.dice.random() > 0.08 else text[: len(text) // 2] + "}]{"

    def file(self) -> Path:
        return self.folder / f"file{self.dice.randrange(24)}.txt"


Workload = Callable[[Inputs], Callable[[], Any]]


def _work() -> dict[str, Workload]:
    """By name: what prepares one call."""
    import numpy as np

    def plain(name: str, arguments: Callable[[Inputs], tuple[Any, ...]]) -> Workload:
        function = found(name)
        return lambda give: functools.partial(function, *arguments(give))

    def awaited(name: str, arguments: Callable[[Inputs], tuple[Any, ...]]) -> Workload:
        function = found(name)
        return lambda give: functools.partial(asyncio.run, _closing(function, arguments(give)))

    def matrix(give: Inputs) -> Any:
        n = give.size(8, 120)
        return np.random.default_rng(give.dice.getrandbits(30)).normal(size=(n, n)) + n * np.eye(n)

    def points(give: Inputs) -> Any:
        return np.random.default_rng(give.dice.getrandbits(30)).normal(size=(give.size(40, 300), 3))

    def toml(give: Inputs) -> str:
        return give.spoilt("\n".join(f"k{k} = [{k}, 2]" for k in range(give.size(4, 40))))

    def frame(give: Inputs) -> Any:
        import pandas as pd

        return pd.DataFrame({"a": give.numbers()})

    def moment(form: str) -> Callable[[Inputs], str]:
        def one(give: Inputs) -> str:
            text = time.strftime(form, time.gmtime(give.dice.randrange(10**9)))
            return text if give.dice.random() > 0.08 else "soon"

        return one

    iso, mail = moment("%Y-%m-%dT%H:%M:%S"), moment("%a, %d %b %Y %H:%M:%S +0000")
    text_of = lambda give: give.spoilt(json.dumps(give.data()))  # noqa: E731
    work: dict[str, Workload] = {
        "json.loads": plain("json.loads", lambda g: (text_of(g),)),
        "yaml.safe_load": plain("yaml.safe_load", lambda g: (text_of(g),)),
        "ast.literal_eval": plain("ast.literal_eval", lambda g: (text_of(g),)),
        "tomlkit.parse": plain("tomlkit.parse", lambda g: (toml(g),)),
        "statistics.mean": plain("statistics.mean", lambda g: (g.numbers(),)),
        "statistics.median": plain("statistics.median", lambda g: (g.numbers(),)),
        "numpy.average": plain("numpy.average", lambda g: (g.numbers(),)),
        "scipy.stats.trim_mean": plain("scipy.stats.trim_mean", lambda g: (g.numbers(), 0.1)),
        "hmac.digest": plain("hmac.digest", lambda g: (b"key", g.bytes(), "sha256")),
        "pathlib.Path.read_text": plain("pathlib.Path.read_text", lambda g: (g.file(),)),
        "linecache.getlines": lambda g: functools.partial(_fresh_lines, str(g.file())),
        "numpy.fromfile": plain("numpy.fromfile", lambda g: (g.file(), "u1")),
        "configparser.ConfigParser.read": lambda g: functools.partial(_configured, str(g.file())),
        "os.listdir": plain("os.listdir", lambda g: (g.folder,)),
        "glob.glob": plain("glob.glob", lambda g: (f"{g.folder}/*.txt",)),
        "pathlib.Path.rglob": lambda g: lambda: list(g.folder.rglob("*.txt")),
        "os.walk": lambda g: lambda: list(os.walk(g.folder)),
        "numpy.linalg.solve": plain("numpy.linalg.solve", lambda g: ((m := matrix(g)), m[0])),
        "scipy.linalg.inv": plain("scipy.linalg.inv", lambda g: (matrix(g),)),
        "numpy.linalg.lstsq": plain("numpy.linalg.lstsq", lambda g: ((m := matrix(g)), m[0])),
        "scipy.linalg.lu_solve": lambda g: _lu(matrix(g)),
        "httpx.get": plain("httpx.get", lambda g: (g.url,)),
        "requests.post": plain("requests.post", lambda g: (g.url,)),
        "urllib.request.urlopen": plain("urllib.request.urlopen", lambda g: (g.url,)),
        "urllib3.request": plain("urllib3.request", lambda g: ("GET", g.url)),
        "re.findall": plain("re.findall", lambda g: (r"\w+\.txt", g.text())),
        "re.search": plain("re.search", lambda g: (r"zeta|gamma", g.text())),
        "fnmatch.filter": plain("fnmatch.filter", lambda g: (g.text().split(), "*.txt")),
        "str.find": plain("str.find", lambda g: (g.text(), "zeta")),
        "datetime.datetime.fromisoformat": plain("datetime.datetime.fromisoformat", lambda g: (iso(g),)),
        "time.strptime": plain("time.strptime", lambda g: (iso(g), "%Y-%m-%dT%H:%M:%S")),
        "email.utils.parsedate_to_datetime": plain("email.utils.parsedate_to_datetime", lambda g: (mail(g),)),
        "dateutil.parser.parse": plain("dateutil.parser.parse", lambda g: (iso(g),)),
        "base64.b64encode": plain("base64.b64encode", lambda g: (g.bytes(),)),
        "binascii.hexlify": plain("binascii.hexlify", lambda g: (g.bytes(),)),
        "urllib.parse.quote": plain("urllib.parse.quote", lambda g: (g.text(),)),
        "quopri.encodestring": plain("quopri.encodestring", lambda g: (g.bytes(),)),
        "builtins.sorted": plain("builtins.sorted", lambda g: (g.numbers(),)),
        "heapq.nsmallest": plain("heapq.nsmallest", lambda g: (10, g.numbers())),
        "numpy.argsort": plain("numpy.argsort", lambda g: (g.numbers(),)),
        "pandas.DataFrame.sort_values": plain("pandas.DataFrame.sort_values", lambda g: (frame(g), "a")),
        "random.gauss": plain("random.gauss", lambda _: (0, 1)),
        "numpy.random.normal": plain("numpy.random.normal", lambda _: (0, 1)),
        "secrets.randbelow": plain("secrets.randbelow", lambda _: (100,)),
        "random.choices": plain("random.choices", lambda _: ((1, 2, 3),)),
        "subprocess.run": plain("subprocess.run", lambda _: (["true"],)),
        "os.system": plain("os.system", lambda _: ("true",)),
        "asyncio.create_subprocess_exec": awaited("asyncio.create_subprocess_exec", lambda _: ("true",)),
        "anyio.run_process": awaited("anyio.run_process", lambda _: (["true"],)),
        "scipy.optimize.minimize": plain("scipy.optimize.minimize", lambda g: (_bowl, g.numbers()[:3])),
        "scipy.optimize.differential_evolution": plain(
            "scipy.optimize.differential_evolution", lambda _: (_bowl, [(-3, 3), (-3, 3)], (), "best1bin", 20)
        ),
        "optuna.study.Study.optimize": lambda _: _studied,
        "scipy.optimize.curve_fit": plain(
            "scipy.optimize.curve_fit", lambda _: (_wave, np.linspace(0, 3, 40), np.sin(np.linspace(0, 3, 40)))
        ),
        "sklearn.cluster.KMeans.fit": lambda g: functools.partial(found("sklearn.cluster.KMeans")(3).fit, points(g)),
        "sklearn.cluster.DBSCAN.fit": lambda g: functools.partial(found("sklearn.cluster.DBSCAN")().fit, points(g)),
        "scipy.cluster.hierarchy.linkage": plain("scipy.cluster.hierarchy.linkage", lambda g: (points(g),)),
        "scipy.cluster.vq.kmeans2": plain("scipy.cluster.vq.kmeans2", lambda g: (points(g), 3)),
        "difflib.unified_diff": lambda g: functools.partial(_diffed, g.text().split(), g.text().split()),
        "difflib.get_close_matches": plain("difflib.get_close_matches", lambda g: ("beto", g.text().split()[:200])),
        "filecmp.cmp": plain("filecmp.cmp", lambda g: (g.file(), g.file(), False)),
        "pandas.DataFrame.compare": plain("pandas.DataFrame.compare", lambda g: ((f := frame(g)), f + 1)),
        "shutil.copyfile": plain("shutil.copyfile", lambda g: (g.file(), g.folder / "copy")),
        "shutil.move": lambda g: _moved(shutil.move, g),
        "os.replace": lambda g: _moved(os.replace, g),
        "shutil.copytree": lambda g: functools.partial(
            shutil.copytree, g.folder, g.folder.parent / f"t{g.dice.getrandbits(60)}"
        ),
        "socket.create_connection": plain("socket.create_connection", lambda g: (("127.0.0.1", g.port),)),
        "asyncio.open_connection": awaited("asyncio.open_connection", lambda g: ("127.0.0.1", g.port)),
        "anyio.connect_tcp": awaited("anyio.connect_tcp", lambda g: ("127.0.0.1", g.port)),
        "sqlite3.Connection.execute": lambda g: functools.partial(
            _sqlite().execute, "select sum(a) from t where a > ?", (g.dice.random(),)
        ),
        "duckdb.sql": lambda g: lambda: found("duckdb.sql")("select sum(a) from range(1000) t(a)").fetchall(),
        "string.Template.substitute": lambda g: functools.partial(_template(g.text()).substitute, {"a": "b"}),
        "str.format": plain("str.format", lambda g: (g.text() + " {}", 1)),
        "mako.template.Template.render": lambda g: functools.partial(
            found("mako.template.Template")("hello ${a} " + g.text()).render, a=1
        ),
        "textwrap.fill": plain("textwrap.fill", lambda g: (g.text(),)),
        "pandas.read_sql_query": lambda g: functools.partial(
            found("pandas.read_sql_query"), "select a from t where a > 0.5", _sqlite()
        ),
        "plistlib.dumps": plain("plistlib.dumps", lambda g: (g.data(),)),
    }
    for name in ("pickle.dumps", "msgpack.packb", "json.dumps"):
        work[name] = plain(name, lambda g: (g.data(),))
    for name in ("zlib.compress", "bz2.compress", "lzma.compress", "hashlib.md5", "zlib.crc32", "hashlib.blake2b"):
        work[name] = plain(name, lambda g: (g.bytes(),))
    work["pyarrow.compress"] = plain("pyarrow.compress", lambda g: (g.bytes(), "zstd"))
    for name in ("numpy.fft.fft", "scipy.fft.dct", "scipy.signal.periodogram", "scipy.signal.welch"):
        work[name] = plain(name, lambda g: (np.asarray(g.numbers()),))
    return work


async def _closing(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    made = await function(*arguments)
    if isinstance(made, tuple):
        made[1].close()
    elif hasattr(made, "wait"):
        await made.wait()
    elif hasattr(made, "aclose"):
        await made.aclose()


def _fresh_lines(path: str) -> Any:
    import linecache

    linecache.clearcache()
    return linecache.getlines(path)


def _configured(path: str) -> Any:
    import configparser

    return configparser.ConfigParser(interpolation=None, strict=False).read(path)


def _lu(matrix: Any) -> Callable[[], Any]:
    from scipy import linalg

    return functools.partial(linalg.lu_solve, linalg.lu_factor(matrix), matrix[0])


def _bowl(x: Any) -> float:
    return float(sum((each - 0.3) ** 2 for each in x))


def _wave(x: Any, a: float, b: float) -> Any:
    import numpy as np

    return a * np.sin(b * x)


def _studied() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return study.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.3) ** 2, n_trials=10)


def _diffed(a: list[str], b: list[str]) -> Any:
    import difflib

    return list(difflib.unified_diff(a[:200], b[:200]))


def _moved(move: Callable[..., Any], give: Inputs) -> Callable[[], Any]:
    source = give.folder / "moving"
    source.write_text("x" * give.size())
    return functools.partial(move, source, give.folder / "moved")


@functools.cache
def _sqlite() -> Any:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a real)")
    connection.executemany("insert into t values (?)", [(k / 500,) for k in range(500)])
    return connection


def _template(text: str) -> Any:
    import string

    return string.Template(text.replace("$", "") + " $a")


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET  # noqa: N815 - the server's word

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def inputs(seed: int = 1) -> Iterator[Inputs]:
    """What the functions are called with, as long as it is there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "files"
        here.mkdir()
        try:
            port = server.server_address[1]
            yield Inputs(here, f"http://127.0.0.1:{port}/", port, seed)
        finally:
            server.shutdown()
            server.server_close()


class Limits(NamedTuple):
    calls: int = 200
    seconds: float = 0.3  # for each function


USUAL = Limits()


def measured(limits: Limits = USUAL, seed: int = 1) -> dict[str, list[Execution]]:
    """Calls of those functions that can be called here, by name."""
    told: dict[str, list[Execution]] = {}
    with inputs(seed) as give, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name, prepare in _work().items():
            calls: list[Execution] = []
            with contextlib.suppress(ImportError):
                _call(prepare(give), 0)  # what is loaded at the first call is not of the function
                begun = time.perf_counter()
                while len(calls) < limits.calls and (time.perf_counter() - begun < limits.seconds or len(calls) < 12):
                    calls.append(_call(prepare(give), len(calls)))
            told[name] = calls
    return told


def _call(call: Callable[[], Any], number: int) -> Execution:
    outcome, error = Outcome.SUCCESS, ""
    start = time.perf_counter()
    try:
        made = call()
    except Exception as fault:
        outcome, error = Outcome.REFUSED, type(fault).__name__
        made = None
    seconds = time.perf_counter() - start
    if isinstance(made, socket.socket):
        made.close()
    return Execution("w", number, 1.7e9 + number, seconds, outcome, 1, (Attempt(outcome, seconds),), error)


def parameters(name: str) -> str:
    """Its parameters with their annotations, as text; empty where it does not say."""
    try:
        return str(inspect.signature(found(name)))
    except (TypeError, ValueError):
        return ""


def signature(name: str) -> str:
    """Name, parameters and docstring as one text, for methods that read text."""
    return f"{name.rpartition('.')[2]} {parameters(name)} {inspect.getdoc(found(name)) or ''}"
