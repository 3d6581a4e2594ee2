"""Scenarios: how agents work together, written as data, played on a real ATLAS, and judged. See `suite`."""
