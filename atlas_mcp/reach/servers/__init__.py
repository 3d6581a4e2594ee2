"""Other MCP servers: the user's file of them, a lasting session with each, and their tools for our agents."""
