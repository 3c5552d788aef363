"""The nouns, the contracts and the loop; standard library and numpy alone."""
