"""How a command starts, refuses, writes and speaks."""
