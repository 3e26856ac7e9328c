"""What a run tells of itself while it goes, and how that is read from outside. No torch."""
