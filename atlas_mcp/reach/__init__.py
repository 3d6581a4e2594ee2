"""What agents reach outside: the web, services, files, and the tools of other MCP servers."""
