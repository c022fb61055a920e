"""Accuracy as a local ``evaluate`` module."""
