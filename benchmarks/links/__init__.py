"""Rows of the group ``links``: several bad links as one good one, on the three beds that the peers were measured on."""
