"""One look a store: whether it has what the record has, and what makes it so again."""
