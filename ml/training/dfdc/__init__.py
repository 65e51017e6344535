"""The reference detector's pipeline on the DFDC layout: from ``metadata.json`` to trained networks and a submission."""
