"""Frames on a serial line: radio modems, satellite terminals in transparent mode, a plain cable."""

from transports.serial_radio.transport import SerialRadioTransport

__all__ = ["SerialRadioTransport"]
