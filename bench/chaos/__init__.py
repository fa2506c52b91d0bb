"""Does anything get lost or doubled when parts of the product die at random? `make chaos` (07-reliability 7.1)."""
