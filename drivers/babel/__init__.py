"""Neighbours of a babel mesh, from babeld's local configuration socket, as hints about a link."""

from drivers.babel.driver import BabelDriver

__all__ = ["BabelDriver"]
