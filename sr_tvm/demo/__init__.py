"""Once round the whole loop on this machine: its steps, and the page of what they found."""
