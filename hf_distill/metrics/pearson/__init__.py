"""Pearson correlation as a local ``evaluate`` module."""
