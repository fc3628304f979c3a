"""Values of a device that speaks SNMP, named by a table of OIDs: readings, and hints about a link."""

from drivers.snmp_table.driver import SnmpTableDriver

__all__ = ["SnmpTableDriver"]
