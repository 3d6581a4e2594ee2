"""ATLAS's tests; `python -m tests` runs them all, with lint and types, and prints each suite's time."""
