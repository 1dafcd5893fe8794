"""Who is asking, and may they: authenticators and authorizers behind the two ports of base.py, and the gate that asks them.

What a caller is (User), what is asked (Attributes) and what was judged (Verdict) are plain values in machinery/access.py.
"""
