"""The schema's history, for Alembic: one revision a file, named by date and intent. It leads to app/store/tables.py."""
