"""The Kubernetes vocabulary. Pure and kind-agnostic: no I/O, no framework, no clock, and nothing of the rest of app."""
