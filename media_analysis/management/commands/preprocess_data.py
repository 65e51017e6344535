from media_analysis.management.training import TrainingCommand


class Command(TrainingCommand):
    name = "preprocess_data"
