"""Sharing the server fairly among those who ask: seats, a queue for each user, and counts of what lasts. Knows no kind."""
