"""Kits that users and authors of stores and learners may use in their tests."""
