"""Settings of frameworks that hold for a whole process; see `core.process.framework_settings`."""
