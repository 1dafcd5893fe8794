"""What measures: each prints a table and, with --json FILE, the same figures."""
