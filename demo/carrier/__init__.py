"""A carrier, simulated: `python -m demo.carrier`. What it can be made to do stands in docs/payments.md.

parcels.py  its parcels and their scans
app.py      HTTP
"""
