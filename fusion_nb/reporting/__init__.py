"""Charts, tables of parties, results and exports of a run."""
