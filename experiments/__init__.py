"""The only place that knows files, SQL and people."""
