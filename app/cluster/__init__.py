"""The cluster behind which Drover may serve: one port (base), one client, and what is read there. Knows no kind of ours."""
