"""What a run shows and leaves behind: charts, tables of parties, results and exports."""
