"""One module a view: TOPIC, fold(row, event), expected(states); optionally key(event) and RANK."""
