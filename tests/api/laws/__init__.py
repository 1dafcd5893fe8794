"""What kube-apiserver answers, one row a behaviour: one module a section. Tests run it, none is in here."""
