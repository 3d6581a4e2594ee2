"""The web: one way out to it, with a guard at every connection, and what is made of its pages."""
