"""Who may come in over HTTP and what for, how much each may ask, and what was done: keys, logins, limits, audit."""
