"""Stage 7: a subnet becomes a file that runs elsewhere."""
