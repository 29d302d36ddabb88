"""Credentials that change while they are used: how they are asked for, kept fresh and shown (OAuth 2.0).

`grant` is what a configuration says, `endpoint` the server that gives tokens, `keeper` who holds one and has it renewed, one at a time;
`walk` and `loopback` ask a person for the first one. Where tokens are kept is somebody else's: a `Shelf` is handed in.
"""
