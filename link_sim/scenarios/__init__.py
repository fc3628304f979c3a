"""Scenarios: nodes, links, traffic, faults and checks in a file, and the run that judges them."""
