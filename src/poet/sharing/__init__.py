"""Functions that learn from each other: which are alike, and how sure that is."""
