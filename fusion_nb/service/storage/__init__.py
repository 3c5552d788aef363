"""Files of the service: aggregators' folders, uploads and keys."""
