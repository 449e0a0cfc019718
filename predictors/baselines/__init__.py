"""Regressors of scikit-learn as accuracy predictors, to compare with; one kind a file."""
