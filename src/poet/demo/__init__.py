"""``poet demo``: decorated functions learn from recorded traffic of real services, over real HTTP, before your eyes."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run the demo; 0 where it went through. What it needs beside POET is loaded here, not with POET."""
    from poet.demo.run import main as run

    return run(arguments)
