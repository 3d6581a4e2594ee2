"""What is checked of what enters and of what leaves: rules, a validator model, and the user's own rails."""
