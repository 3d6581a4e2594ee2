"""The front door for people: one command a file. Importing this package loads nothing."""
