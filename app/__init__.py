"""Drover: moves running virtual machines between libvirt hosts and speaks the Kubernetes API while doing so."""
