"""What every storage must do, whatever keeps the sessions."""
