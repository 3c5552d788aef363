"""The child processes in which the service reads files and trains."""
