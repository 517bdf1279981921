"""A family of targets written by following docs/add_a_target.md alone, in the files that the page names."""
