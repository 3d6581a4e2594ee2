"""How good finished work was: what can be told without a model, and what judges say that MLflow brings."""
