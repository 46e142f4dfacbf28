"""The core service: one locked process per vault that holds the keys and runs the loop."""
