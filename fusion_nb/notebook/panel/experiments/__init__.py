"""The panel's tab of experiments."""
