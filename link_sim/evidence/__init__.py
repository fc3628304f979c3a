"""What a run leaves for people: an event log, a capture, a picture."""
