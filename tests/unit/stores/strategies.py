"""What stores are fed with, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from poet.model.execution import Context
from poet.stores import features

NAMES = st.sampled_from(["size", "region", "größe", ""]) | st.text(max_size=4)
VALUES = (
    st.booleans()
    | st.sampled_from([0, 0.0, -0.0, 1, 1.0, "", "1", 2**63, -(2**63), -(2**63) - 1])
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-(2**512) + 1, 2**512 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.text(min_size=features.LONGEST, max_size=features.LONGEST)
)
CONTEXTS: st.SearchStrategy[Context] = st.dictionaries(NAMES, VALUES, max_size=5).map(
    lambda found: tuple(found.items())
)
GOALS = st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=4).map(
    lambda found: tuple(found.items())
)
