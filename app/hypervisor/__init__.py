"""The hosts: one port (base), two drivers that keep the same contract. Knows no object of the API, decides nothing."""
