"""The shipped tuning records, one folder per target and device, as package data."""
