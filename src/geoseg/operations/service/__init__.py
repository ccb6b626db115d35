"""What runs unattended: from new imagery to published maps."""
