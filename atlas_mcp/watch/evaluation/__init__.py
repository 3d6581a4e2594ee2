"""Evaluation: sets made of real runs, variants that do them again, and what their difference is worth."""
