"""Readings from sensors that publish to an MQTT broker."""

from drivers.mqtt_sensors.driver import MqttSensorsDriver

__all__ = ["MqttSensorsDriver"]
