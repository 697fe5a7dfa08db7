"""Where the original POET kept what it had learned. Every new function asks; ``legacy_json`` reads what is there."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT, HOME = Path(".poet"), Path(".opendxa") / "poet"  # below the project's folder and the user's
PARAMETERS = "_params.json"  # how the name of a parameter file ends


def parameters_name(function_name: str, domain: str | None) -> str | None:
    """The name of the file in which the original kept a function's parameters; None where there can be none.

    >>> parameters_name("Shop.ask", "llm_optimization"), parameters_name("ask", None), parameters_name("a/b", None)
    ('ask_llm_optimization_params.json', 'ask_params.json', None)
    """
    name = function_name.rpartition(".")[2] + (f"_{domain}" if domain else "")
    if not name or any(letter in name for letter in "/\\\0"):
        return None
    return name + PARAMETERS


def may_have_parameters(function_name: str, domain: str | None, root: Path, home: Path) -> bool:
    """Whether the original may have left parameters of a function: for sure not, where no file is there.

    Arguments as those of ``legacy_json.legacy_parameters``. Never raises; two looks into folders.
    """
    name = parameters_name(function_name, domain)
    if name is None:
        return False
    for folder in (root / PROJECT, home / HOME):
        try:
            os.stat(folder / name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError):  # let who reads it say what is wrong
            return True
        return True
    return False
