"""What ``import partial_fc`` and the command ``pfc`` share. Importing it imports no torch: ``pfc`` starts at once."""
