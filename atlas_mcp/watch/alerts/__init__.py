"""Alerts: what is beyond its threshold is told once, until it is over."""
