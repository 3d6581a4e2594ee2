"""The files of the user's own that agents may list, read and search."""
