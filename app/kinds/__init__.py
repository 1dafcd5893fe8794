"""What we serve: one file a kind, declarative: schema, validation, columns. No I/O, no decisions about the world."""
