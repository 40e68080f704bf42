"""One module a table: TOPIC, rows(event), expected(states); its columns are in sql/clickhouse/<name>.sql."""
