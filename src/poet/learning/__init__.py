"""T: executions in, better parameters out."""
