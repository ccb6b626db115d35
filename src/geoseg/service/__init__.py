"""What runs unattended: new imagery, orders, the runs they start, maps that are published."""
