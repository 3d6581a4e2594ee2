"""What makes vectors of texts: one file an embedder, each kept to the promise of `contract`."""
