"""Where objects live: one port (base), one PostgreSQL adapter, and the only SQL of the project. Knows no kind."""
