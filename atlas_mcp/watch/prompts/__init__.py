"""Prompts in versions: which there are, which leads, what speaks against one, and how a better one is proposed."""
