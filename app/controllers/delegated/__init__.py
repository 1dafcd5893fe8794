"""What a real cluster keeps where Drover serves behind one: its namespaces, mirrored here, and Events, told there."""
