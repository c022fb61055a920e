"""A run from its arguments to its report: check everything, train, compare, publish."""
