"""The endpoints, one kind of thing a file."""
