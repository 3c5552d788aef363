"""What parties contribute: retraining without them, and parties that never trained."""
