"""Add up the raw seconds of a link without the agent."""
