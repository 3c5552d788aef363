"""The adapter of scikit-learn's estimators."""
