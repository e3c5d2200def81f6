"""Control: when actions are carried out, how fast the arm may follow them, and the real-time loop. Free of torch."""
