"""Admission: rules of the operator's that a write must keep, in Kubernetes' form (ValidatingAdmissionPolicy) and language (CEL).

What clients write is judged here, once it is well in itself; what Drover's own controllers write is not.
"""
