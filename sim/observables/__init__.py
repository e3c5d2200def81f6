"""What is seen of a simulation: one kind of sensor a file, and how often, how late and how exactly it sees."""
