"""Simulated and recorded services, to prove things on; imported by no floor."""
