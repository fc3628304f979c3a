"""Signal and registration of a cellular or satellite-telephone modem on its AT port, as hints about a link."""

from drivers.at_modem.driver import AtModemDriver

__all__ = ["AtModemDriver"]
