"""Which nodes a guest may run on, why the others are out, and which is best. Values in, values out: no clock, no store.

`need` says what a guest asks and `nodes` what a node offers; `fleet` holds all nodes so that a filter answers for all of
them at once; `filters` and `scores` are the rules, and `pipeline` runs them.
"""
