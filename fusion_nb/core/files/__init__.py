"""Files and folders: written whole or not at all, and counted before they are read."""
