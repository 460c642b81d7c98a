"""The estimators: from parameters and tables to a fit, and from a fit to answers."""
