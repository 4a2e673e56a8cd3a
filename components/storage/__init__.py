"""What is known of storage services: their facts, and how objects are sent to each. No Pulumi: recovery runs without it."""
