"""Connectors to services of others: each in one file, each off until the settings name its key."""
