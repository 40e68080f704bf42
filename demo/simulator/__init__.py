"""What the simulated provider and carrier share: a company outside, as we see it over HTTP.

store.py     its SQLite database, in which all is kept that it has acknowledged
clock.py     its clock, which tests move
scripts.py   how it is to behave, by the beginning of a key
webhooks.py  what it tells by itself: signed, and sent again until it is taken
server.py    HTTP: the key that callers need, refusals, and the faults of the scripts
"""
