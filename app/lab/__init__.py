"""Local libvirt hosts and guests, for trying Drover out and for its tests. Imported by the command line alone."""
