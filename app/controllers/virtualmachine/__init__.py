"""One VirtualMachine: placed under the lease `controllers`, then started, followed and ended by the agent of its node."""
