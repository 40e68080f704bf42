"""What every service does over HTTP: the app, problems, requests, OpenAPI."""
