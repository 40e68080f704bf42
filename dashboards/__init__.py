"""What there is to see of Marea in Grafana: dashboards as data, the JSON that is made from them, and their queries, run."""
