"""The quality of a trained model: predictions for test rows, scores, and doubts about it."""
