"""What goes into the window, and what does not."""
