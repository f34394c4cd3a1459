"""Side by side with peers: one server, one list of tiles, each tool unmodified in an environment of its own."""
