"""What a notebook adds: magics, a live view, completion. No training logic lives here."""
