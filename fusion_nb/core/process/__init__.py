"""The process: its threads, its settings, its interrupts and the output of its cells."""
