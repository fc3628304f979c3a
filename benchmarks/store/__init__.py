"""Rows of the group ``store``: what store-and-forward costs, each beside its reference of the same run."""
