"""One direction of a link: what becomes of each frame offered to it. Sans-IO, integer nanoseconds, any clock."""
