"""The fetcher: the only program of agentkit that reaches the network, and only when the user asks for a model.

It runs as its own process (`python -I -m agentkit.fetcher`), started by the user's command and never by the core:
one request comes in as JSON on standard input, events go out as JSON lines on standard output.
Covered: it holds no key, sees no document, gets an environment that names only what a download needs, and ends with
whoever started it.
Not covered: the server learns the address of this machine and which model is fetched.
"""
