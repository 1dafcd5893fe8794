"""How other systems steer a copy, after their own sources: what they look at, when, and what they then say to the host."""
