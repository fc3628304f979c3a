"""Traces: what one direction of a real link did over time, read, edited, measured and recorded."""
