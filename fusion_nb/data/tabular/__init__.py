"""Tables with categories, dates and missing values, encoded by statistics of all parties."""
