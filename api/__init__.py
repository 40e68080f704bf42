"""The write side: one folder a service, and what the services share."""
