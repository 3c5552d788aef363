"""The identity of a model, its loss and its optimizer as text, for runs that are resumed."""
