"""Child processes of the service, which read uploads and train."""
