"""Simulated services, to prove things on; imported by no floor.

``services`` draws answers, ``scenarios`` names situations, ``evaluate`` tells exactly what a plan is worth in one, and
``play`` lets a policy live through it on a virtual clock.
"""
