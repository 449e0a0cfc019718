"""What is kept of experiments, in SQL."""
