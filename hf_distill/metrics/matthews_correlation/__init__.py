"""Matthews correlation as a local ``evaluate`` module."""
