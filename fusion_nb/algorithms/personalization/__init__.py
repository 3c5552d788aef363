"""Methods that give each party a model of its own, one file each."""
