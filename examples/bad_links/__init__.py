"""Programs of others behind a bad link: five tests to copy, each against the real thing."""
