"""What travels between the rooms and lies on disk, each with its JSON form. They know no target."""
