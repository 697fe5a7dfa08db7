"""Where versions and executions are kept; one contract suite for all."""
