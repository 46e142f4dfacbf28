"""agentkit: agents that run wholly on your own machine."""
