"""Stage 4a: accuracy predictors, their data and their metrics."""
