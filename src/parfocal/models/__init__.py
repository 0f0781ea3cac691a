"""What is known about images, sheets, records and outcomes."""
