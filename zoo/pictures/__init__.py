"""Pictures and their captions: read, prepared, embedded by two towers, ranked."""
