"""Django's engine for MongoDB, as ``ENGINE`` in DATABASES: django-mongodb-backend with what it lacks for this site."""
