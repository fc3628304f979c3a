"""Endpoints in virtual time: datagram ports, streams and serial ports whose every frame goes through a line."""
