"""What is left after many simulated migrations and reconnects: memory, open files, rows. Only the hosts are simulated; API,
worker, migration processes and PostgreSQL are processes of their own, and what they speak is what they always speak."""
