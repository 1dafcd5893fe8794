"""Drover and a kube-apiserver, asked the same: where do the answers differ?

`definitions` makes CustomResourceDefinitions of Drover's own kinds, so that both validate alike; `cases/` says what is asked;
`server` asks; `normal` takes away what differs from run to run; `accepted` lists what differs on purpose, and why. Beside them
`commands` says what kubectl is told on both sides, and `kubectl` compares what it prints.
No case knows which of the two it talks to, and nothing here says what an answer should be: those are the rows of tests/api/laws.
"""
