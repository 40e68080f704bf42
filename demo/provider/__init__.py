"""A provider of payments, simulated: `python -m demo.provider`. What its cards do stands in docs/payments.md.

cards.py   its test cards, and what each of them does
ledger.py  its operations and authorizations: what may be done, and what was
app.py     HTTP
"""
