"""What is known about storage services, and how objects are sent to each. No Pulumi: recovery runs without it."""
