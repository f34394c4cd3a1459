"""Whole flows, short and readable."""
