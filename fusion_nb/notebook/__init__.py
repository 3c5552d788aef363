"""The notebook's side: magics, completion, a live view and a panel. No training logic is here."""
