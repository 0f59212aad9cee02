"""MCP, the Model Context Protocol: memory for servers of your own, and what ``botwire mcp`` serves."""
