"""One Migration, from Pending to its end: decided purely, committed in one transaction, run by one process."""
