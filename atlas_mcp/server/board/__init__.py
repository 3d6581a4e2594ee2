"""The run board: a page on which people see teams at work, in hosts that show pages (MCP Apps) and at `/board`.

One document for both, with nothing to load and nothing that leads elsewhere; it is read from the package when it is
first asked for. All that it shows of runs becomes text, never markup.
"""
