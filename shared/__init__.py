"""What every service needs and none of them owns. It imports no service."""
