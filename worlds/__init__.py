"""Scenarios: worlds as data, the builder that makes transition systems of them, and checks."""
