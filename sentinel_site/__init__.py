"""The project: settings, URLs, ASGI entry point, checks and the process set-up."""
