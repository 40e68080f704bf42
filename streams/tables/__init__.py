"""A folder a service, in it one module a table: TOPIC, rows(event), expected(states).

Its columns are in sql/clickhouse/<service>/<name>.sql.
"""
