"""Figures of the link simulator."""
