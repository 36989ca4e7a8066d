"""What happens to networks and models after, or beside, their training."""
