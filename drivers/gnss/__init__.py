"""Position from a GNSS receiver: NMEA 0183 on a serial port, or gpsd's JSON over TCP."""

from drivers.gnss.driver import GnssDriver

__all__ = ["GnssDriver"]
