"""The HTTP face: one set of routes serves every declared kind and names none. Knows no hypervisor, no controller."""
