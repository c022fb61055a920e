"""F1 as a local ``evaluate`` module."""
