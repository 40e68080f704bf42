"""What all stand on: settings, PostgreSQL, outbox, partitions, refusals."""
