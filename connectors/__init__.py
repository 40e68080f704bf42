"""The relay: Kafka Connect with Debezium, from the outboxes to the topics."""
