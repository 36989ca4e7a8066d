"""Quality of a restored image against its original."""
