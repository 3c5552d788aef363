"""The contributions of parties: retraining without them, and parties that never trained."""
