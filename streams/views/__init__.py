"""A folder a service, in it one module a view: TOPIC, fold(row, event), expected(states); optionally key(event) and INDEXES."""
