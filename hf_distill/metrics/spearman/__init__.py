"""Spearman rank correlation as a local ``evaluate`` module."""
